// `make cluster`: a whole cluster on this machine, on loopback only. Starts everything, prints the
// addresses, prefixes each process's log with its name, and stops everything together: on Ctrl-C, or
// when any one of them ends. Nothing stays behind, also where this process itself is killed.
//
// Ports: PORT (8080), REDIS_PORT (6380), GATEWAY_PORT, GATEWAY_ADMIN_PORT, GATEWAY_PEER_PORT, PRESENCE_PORT
// and PRESENCE_ADMIN_PORT (3011, 9411, 3031, 3021, 9421: the first of three, or of two).
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const HOST = '127.0.0.1';
const TOP = fileURLToPath(new URL('../..', import.meta.url));
const BIN_DIR = process.env.ROOMCAST_BIN_DIR ?? join(process.env.CARGO_TARGET_DIR ?? join(TOP, 'target'), 'debug');
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
const COLOURS = process.stdout.isTTY && !process.env.NO_COLOR ? [36, 32, 33, 35, 34, 96, 92, 93] : undefined;
const READY_TIMEOUT = 30_000;
const STOP_TIMEOUT = 30_000;

const port = (name, otherwise) => {
  const value = Number(process.env[name] ?? otherwise);
  if (Number.isInteger(value) && value > 0 && value < 65_530) return value;
  console.error(`${name} must be a port, not ${process.env[name]}`);
  return process.exit(2);
};
const PORTS = {
  balancer: port('PORT', 8080),
  redis: port('REDIS_PORT', 6380),
  gateways: [0, 1, 2].map((n) => port('GATEWAY_PORT', 3011) + n),
  gatewayAdmins: [0, 1, 2].map((n) => port('GATEWAY_ADMIN_PORT', 9411) + n),
  gatewayPeers: [0, 1, 2].map((n) => port('GATEWAY_PEER_PORT', 3031) + n),
  presence: [0, 1].map((n) => port('PRESENCE_PORT', 3021) + n),
  presenceAdmins: [0, 1].map((n) => port('PRESENCE_ADMIN_PORT', 9421) + n),
};

const children = [];
let stopping = false;

function log(label, text) {
  const name = label.padEnd(10);
  const index = Math.max(0, children.findIndex((child) => child.label === label));
  console.log(COLOURS ? `\x1b[${COLOURS[index % COLOURS.length]}m${name}\x1b[0m ${text}` : `${name} ${text}`);
}

/** In a process group of its own, so that Ctrl-C reaches this process alone, which then ends the rest in order. */
function start(label, command, args, env = {}) {
  const [file, ...rest] = SETPRIV ? [SETPRIV, '--pdeathsig', 'KILL', command, ...args] : [command, ...args];
  const proc = spawn(file, rest.map(String), {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, ...env },
  });
  const child = { label, process: proc, running: true };
  children.push(child);
  for (const stream of [proc.stdout, proc.stderr]) {
    createInterface({ input: stream }).on('line', (line) => log(label, line));
  }
  child.ended = new Promise((resolve) => {
    proc.once('error', (error) => resolve(String(error)));
    proc.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  }).then((how) => {
    child.running = false;
    if (stopping) return;
    console.error(`\n${label} ended (${how}); stopping the cluster.`);
    void stop(1);
  });
}

/** In the order in which no process loses another that it needs: the load balancer first, Redis last. */
async function stop(status) {
  if (stopping) return;
  stopping = true;
  const order = [/^balancer/, /^gateway/, /^presence/, /^redis/];
  const late = setTimeout(() => {
    console.error(`Not all ended within ${STOP_TIMEOUT} ms; killing the rest.`);
    children.filter(({ running }) => running).forEach((child) => child.process.kill('SIGKILL'));
  }, STOP_TIMEOUT);
  for (const part of order) {
    const group = children.filter(({ label, running }) => running && part.test(label));
    group.forEach((child) => child.process.kill('SIGTERM'));
    await Promise.all(group.map((child) => child.ended));
  }
  clearTimeout(late);
  rmSync(redisDir, { recursive: true, force: true });
  process.exit(status);
}

/** `status` of a GET, or undefined without an answer. */
function get(url) {
  return new Promise((resolve) => {
    const sent = request(url, { agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('timeout', () => sent.destroy());
    sent.on('error', () => resolve(undefined));
    sent.end();
  });
}

const accepts = (number) =>
  new Promise((resolve) => {
    const socket = connect(number, HOST);
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });

async function until(what, condition) {
  const deadline = Date.now() + READY_TIMEOUT;
  while (!stopping && !(await condition())) {
    if (Date.now() > deadline) {
      console.error(`\n${what} was not ready within ${READY_TIMEOUT} ms; stopping the cluster.`);
      return stop(1);
    }
    await sleep(100);
  }
}

process.on('exit', () => children.filter(({ running }) => running).forEach((child) => child.process.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (stopping) process.exit(1); // a second one: at once
    console.log('\nStopping the cluster; once more to stop it at once.');
    void stop(0);
  });
}

for (const [name, numbers] of Object.entries(PORTS)) {
  for (const number of [numbers].flat()) {
    if (!(await accepts(number))) continue;
    console.error(`Port ${number} (${name}) is taken. Stop what listens there, or choose others: deploy/cluster/run.mjs says how.`);
    process.exit(1);
  }
}

const redisDir = mkdtempSync(join(tmpdir(), 'roomcast-cluster-'));
start('redis', 'redis-server', ['--port', PORTS.redis, '--bind', HOST, '--save', '', '--appendonly', 'no', '--dir', redisDir]);
await until('redis', () => accepts(PORTS.redis));

const redis = ['--redis', `redis://${HOST}:${PORTS.redis}`];
const listen = (own, admin) => ['--listen', `${HOST}:${own}`, '--admin', `${HOST}:${admin}`, ...redis];
PORTS.presence.forEach((own, n) => {
  start(`presence-${n + 1}`, join(BIN_DIR, 'roomcast-presence'), listen(own, PORTS.presenceAdmins[n]));
});
// What gateways prove to each other; in the environment, where other users of the machine do not see it.
const secret = { ROOMCAST_PEER_SECRET: randomBytes(32).toString('hex') };
PORTS.gateways.forEach((own, n) => {
  const peer = ['--peer-listen', `${HOST}:${PORTS.gatewayPeers[n]}`];
  const args = [...listen(own, PORTS.gatewayAdmins[n]), ...peer, '--node', `gw-${n + 1}`];
  start(`gateway-${n + 1}`, join(BIN_DIR, 'roomcast-gateway'), args, secret);
});
for (const admin of [...PORTS.gatewayAdmins, ...PORTS.presenceAdmins]) {
  await until(`http://${HOST}:${admin}/readyz`, async () => (await get(`http://${HOST}:${admin}/readyz`)) === 200);
}

const balancerEnv = { LISTEN: `${HOST}:${PORTS.balancer}` };
PORTS.gateways.forEach((own, n) => {
  balancerEnv[`GATEWAY_${n + 1}`] = `${HOST}:${own}`;
  balancerEnv[`ADMIN_PORT_${n + 1}`] = String(PORTS.gatewayAdmins[n]);
});
start('balancer', 'haproxy', ['-db', '-f', join(TOP, 'deploy/haproxy/haproxy.cfg')], balancerEnv);
await until('the load balancer', async () => (await get(`http://${HOST}:${PORTS.balancer}/`)) === 200);

if (!stopping) {
  const url = (number) => `http://${HOST}:${number}`;
  console.log(`
The cluster is up; Ctrl-C stops all of it.

  chat        ${url(PORTS.balancer)}   (open it in two windows)
  gateways    ${PORTS.gateways.map(url).join('  ')}
  metrics     ${PORTS.gatewayAdmins.map((number) => `${url(number)}/metrics`).join('  ')}
  directory   ${PORTS.presence.map((number) => `${url(number)}/rooms`).join('  ')}
  redis       redis://${HOST}:${PORTS.redis}
`);
}
