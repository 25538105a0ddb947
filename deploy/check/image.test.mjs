// The images, without a container engine: each binary runs in a root that holds what the last stages of
// deploy/Dockerfile copy and nothing else, mounted read-only, as uid 65532 without capabilities; then the
// services of deploy/compose.yaml find each other by name. `make deploy-check` runs it, inside enter.sh.
//
// CHECK is the program of this folder, STATIC the folder with binaries linked as in the image.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { eventually, request, scope, step, story } from '../../gateway/tests/e2e/harness.mjs';
import { Child } from '../../gateway/tests/e2e/processes.mjs';

const TOP = fileURLToPath(new URL('../..', import.meta.url));
const { CHECK, STATIC } = process.env;
assert.ok(CHECK && STATIC, 'CHECK and STATIC are missing: run make deploy-check');

const asked = (...words) => JSON.parse(execFileSync(CHECK, [TOP, ...words], { maxBuffer: 1 << 24 }));
const IMAGES = { gateway: asked('image', 'gateway'), presence: asked('image', 'presence') };

// What a container engine adds: these devices (and /proc and /sys, which are not needed), and names as in
// Kubernetes, where one is looked up in the search domain first.
const DEVICES = ['full', 'null', 'random', 'urandom', 'zero'].map((name) => `/dev/${name}`);
const DNS = '127.0.0.11';
const ETC = {
  '/etc/hosts': '127.0.0.1 localhost\n',
  '/etc/resolv.conf': `nameserver ${DNS}\nsearch chat.svc.cluster.test\noptions ndots:5\n`,
};

/** The image's files, as its COPY lines say, in a folder that confine.sh mounts read-only. */
function rootOf(image) {
  const root = mkdtempSync(join(tmpdir(), 'roomcast-root-'));
  chmodSync(root, 0o755); // as an image's root is
  scope().defer(() => rmSync(root, { recursive: true, force: true }));
  const place = (target) => {
    mkdirSync(join(root, dirname(target)), { recursive: true });
    return join(root, target);
  };
  for (const { from, source, target } of image.files) {
    assert.ok(from === '' || from === 'build', `this test has no stage ${from}`);
    cpSync(from ? join(STATIC, basename(source)) : join(TOP, source), place(target), { recursive: true });
  }
  for (const [file, text] of Object.entries(ETC)) writeFileSync(place(file), text);
  for (const device of DEVICES) writeFileSync(place(device), ''); // something to mount it on
  return root;
}

/** A process in the image's root, with its environment and more. */
function container(label, image, { env = {}, command = image.entrypoint } = {}) {
  const given = Object.entries({ ...image.env, ...env }).map(([name, value]) => `${name}=${value}`);
  const script = fileURLToPath(new URL('confine.sh', import.meta.url));
  return new Child(label, script, [rootOf(image), image.user, ...given, '--', ...command]);
}

/** The image's own health check, run as an engine would: beside the process, in the same image. */
async function health(image, env) {
  const check = container('healthcheck', image, { env, command: image.healthcheck.slice(1) }).mayEnd();
  await check.exited;
  return { code: check.code, said: check.lines.map(({ text }) => text).join('\n') };
}

async function healthy(image, env) {
  await eventually(async () => (await health(image, env)).code === 0, { timeout: 30_000, every: 100 });
}

const files = (root, at = '') =>
  readdirSync(join(root, at), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(root, `${at}/${entry.name}`) : [`${at}/${entry.name}`],
  );

/** Nobody, with nothing, in a root that nobody can write and that holds what the Dockerfile says. */
function assertConfined(process, image) {
  const status = Object.fromEntries(
    readFileSync(`/proc/${process.pid}/status`, 'utf8').split('\n').map((line) => line.split(/:\s*/, 2)),
  );
  // In a user namespace we see the id that stands for 65532, not 65532 itself.
  if (readFileSync(`/proc/${process.pid}/uid_map`, 'utf8').trim().startsWith('65532')) {
    assert.match(readFileSync(`/proc/${process.pid}/uid_map`, 'utf8'), /^\s*65532\s+\d+\s+1\s*$/);
  } else {
    assert.deepEqual(status.Uid.split('\t'), Array(4).fill('65532'));
    assert.deepEqual(status.Gid.split('\t'), Array(4).fill('65532'));
    assert.equal(status.Groups.trim(), '');
  }
  assert.equal(status.NoNewPrivs, '1');
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(status[set], /^0+$/, set);

  const root = `/proc/${process.pid}/root`;
  assert.throws(() => writeFileSync(join(root, 'file'), ''), { code: 'EROFS' });
  const expected = [...image.files.map(({ target }) => target), ...Object.keys(ETC), ...DEVICES];
  assert.deepEqual(files(root).sort(), expected.sort());
}

/** Answers A queries for these names, bare or in the search domain, and that there is nothing else. */
async function nameServer(addresses) {
  const socket = createSocket('udp4');
  const seen = new Set();
  socket.on('message', (query, from) => {
    let at = 12;
    const labels = [];
    for (; query[at] > 0; at += 1 + query[at]) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
    const question = query.subarray(12, at + 5);
    const ours = ['', 'chat.svc.cluster.test'].includes(labels.slice(1).join('.'));
    const address = ours && addresses[labels[0]];
    const isA = query.readUInt16BE(at + 1) === 1;
    if (address) seen.add(labels[0]);
    const answer = address && isA ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split('.').map(Number)] : [];
    const head = Buffer.alloc(12);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(address ? 0x8580 : 0x8583, 2); // or: no such name
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answer.length ? 1 : 0, 6);
    socket.send(Buffer.concat([head, question, Buffer.from(answer)]), from.port, from.address);
  });
  await new Promise((resolve, reject) => socket.once('error', reject).bind(53, DNS, resolve));
  scope().defer(() => new Promise((resolve) => socket.close(resolve)));
  return seen;
}

story('the gateway alone, as its image says', {}, async () => {
  const image = IMAGES.gateway;
  const before = await health(image);
  assert.equal(before.code, 1, 'nobody is there yet');
  assert.match(before.said, /^roomcast-gateway: not ready, .*refused/);

  const gateway = container('gateway', image);
  await gateway.line(/^listening on/);
  await healthy(image);
  await step('is confined', () => assertConfined(gateway, image));
  await step('serves the page, a Socket.IO handshake and metrics', async () => {
    const page = await request('http://127.0.0.1:3000/');
    assert.equal(page.status, 200);
    assert.match(page.body, /<!doctype html>/i);
    const handshake = await request('http://127.0.0.1:3000/socket.io/?EIO=4&transport=polling');
    assert.equal(handshake.status, 200);
    assert.match(handshake.body, /^0\{"sid":"/);
    const metrics = await request('http://127.0.0.1:9464/metrics');
    assert.match(metrics.body, /^roomcast_/m);
  });
  await step('its check takes another address', async () => {
    assert.equal((await health(image, { ROOMCAST_ADMIN: '127.0.0.1:9' })).code, 1);
  });
  await gateway.stop();
  assert.equal((await health(image)).code, 1, 'nobody is there any more');
});

story('the services of compose.yaml find each other by name', { timeout: 120_000 }, async () => {
  const services = Object.fromEntries(
    ['gateway-1', 'gateway-2', 'presence', 'redis', 'balancer'].map((name) => [name, asked('service', name)]),
  );
  const addresses = Object.fromEntries(Object.keys(services).map((name, n) => [name, `127.0.1.${n + 1}`]));
  const seen = await nameServer(addresses);
  // Containers have addresses of their own; here they share one loopback, so "any address" becomes theirs.
  const settings = (name) =>
    Object.fromEntries(
      Object.entries(services[name].environment)
        .map(([key, value]) => [key, key.startsWith('ROOMCAST_') ? value.replace('0.0.0.0', addresses[name]) : value]),
    );

  const redis = new Child('redis', 'redis-server', ['--bind', addresses.redis, '--port', '6379', '--save', '']);
  await redis.line(/Ready to accept connections/);
  const started = {};
  for (const name of ['presence', 'gateway-1', 'gateway-2']) {
    const image = IMAGES[services[name].build.target];
    const env = settings(name);
    started[name] = container(name, image, { env });
    await healthy(image, env);
    assertConfined(started[name], image);
  }
  assert.ok(seen.has('redis'), 'Redis was looked up by name');

  await step('presence knows both gateways', async () => {
    const url = `http://${addresses.presence}:3001/nodes`;
    const nodes = await eventually(async () => {
      const { body } = await request(url);
      return ['gw-1', 'gw-2'].every((name) => body.includes(name)) && body;
    });
    assert.ok(nodes);
  });

  await step('the balancer serves through both, and through the one that is left', async () => {
    const balancer = new Child('balancer', 'haproxy', ['-db', '-f', join(TOP, 'deploy/haproxy/haproxy.cfg')], {
      env: { ...settings('balancer'), PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    const page = async () => (await request('http://127.0.0.1:8080/')).status;
    await eventually(async () => (await page()) === 200, { what: 'the page through the balancer' });
    for (const name of ['gateway-1', 'gateway-2']) assert.ok(seen.has(name), `${name} was looked up by name`);
    // The balancer keeps no affinity: every second request of a session is passed on, by the peer's name.
    const polling = 'http://127.0.0.1:8080/socket.io/?EIO=4&transport=polling';
    for (let session = 0; session < 4; session++) {
      const { sid } = JSON.parse((await request(polling)).body.slice(1));
      let heard = '';
      for (const body of [`40{"username":"ann-${session}"}`, '420["rooms",{}]', '421["rooms",{}]']) {
        assert.equal((await request(`${polling}&sid=${sid}`, { method: 'POST', body })).body.toLowerCase(), 'ok');
        heard += (await request(`${polling}&sid=${sid}`)).body;
      }
      assert.match(heard, /430\[\{"status":"ok"/);
    }
    await started['gateway-1'].stop();
    await eventually(async () => (await Promise.all(Array.from({ length: 8 }, page))).every((status) => status === 200));
    balancer.mayEnd().signal('SIGTERM');
    await balancer.exited;
  });

  for (const name of ['gateway-2', 'presence']) await started[name].stop();
});
