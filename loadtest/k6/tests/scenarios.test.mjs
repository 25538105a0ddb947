// Scenarios, short, on the host against real gateways: they pass against a good cluster, and each of them fails against
// one that drops a message now and then. What is not right beforehand ends a run with one clear line.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createConnection, createServer as createTcpServer } from 'node:net';

import { cluster, connect, scope, step, story } from '../../../gateway/tests/e2e/harness.mjs';
import { count, runScript } from './run-host.mjs';

const THRESHOLDS_FAILED = 99;
const SCRIPT_EXCEPTION = 107;
const ABORTED = 108;
/** How seldom a broken gateway drops a message to a member. */
const DROP_EVERY = '1000';
/** How many messages a scenario delivers at least: each of two gateways drops some. */
const DELIVERIES = 5_000;

// A machine that runs other tests at the same time is slow; what counts here is that nothing is lost.
const P95 = '20000';
/** Run together, two and two. */
const SCENARIOS = [
  {
    smoke: { VUS: '2', SOCKETS: '20', RATE: '60', DURATION: '6s' },
    chat: { VUS: '4', SOCKETS: '20', ROOMS: '4', RATE: '60', DURATION: '6s' },
  },
  {
    'reconnect-storm': { VUS: '4', SOCKETS: '15', ROOMS: '2', RATE: '60', DURATION: '8s' },
    'big-room': { VUS: '4', SOCKETS: '60', RATE: '10', DURATION: '14s' },
  },
];

/** One address for several gateways, to which connections go in turn. */
async function inTurn(gateways) {
  let next = 0;
  const open = new Set();
  const server = createTcpServer((client) => {
    const upstream = createConnection(gateways[next++ % gateways.length].port, '127.0.0.1');
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy()).on('close', () => (open.delete(one), other.destroy()));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => (server.close(), open.forEach((socket) => socket.destroy())));
  return `http://127.0.0.1:${server.address().port}`;
}

async function gateways(...args) {
  const started = await cluster({ gateways: 2, presence: 1, args });
  return { url: await inTurn(started.gateways) };
}

const scenario = (name, env, options) => runScript(`scenarios/${name}.ts`, { P95, ...env }, options);

/** Runs all scenarios against the cluster at this address; `verify` gets the name and the run of each. */
async function all(url, verify) {
  for (const together of SCENARIOS) {
    const runs = Object.entries(together).map(async ([name, env]) => [name, await scenario(name, { BASE_URL: url, ...env })]);
    for (const [name, run] of await Promise.all(runs)) await step(name, () => verify(name, run));
  }
}

story('scenarios pass against a good cluster', { timeout: 100_000 }, async () => {
  const { url } = await gateways();
  await all(url, async (name, { code, output, summary, page }) => {
    assert.equal(code, 0, output);
    assert.equal(summary.passed, true, output);
    assert.ok(count(summary, 'roomcast_deliveries') >= DELIVERIES, output);
    assert.ok(page.includes(`<h1>${name}: <span class="ok">passed</span></h1>`));
  });
});

story('scenarios fail against a cluster that drops messages', { timeout: 100_000 }, async () => {
  const { url } = await gateways('--test-drop-every', DROP_EVERY);
  await all(url, async (name, { code, output, summary }) => {
    assert.equal(code, THRESHOLDS_FAILED, output);
    const broken = summary.thresholds.filter(({ ok }) => !ok).map(({ metric }) => metric);
    assert.deepEqual(broken, ['roomcast_missing'], output);
    assert.ok(count(summary, 'roomcast_deliveries') >= DELIVERIES, output);
  });
});

story('other thresholds can be broken, too', { timeout: 60_000 }, async () => {
  // Whoever is away for longer than the grace has left, for all others.
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args: ['--grace', '50ms'] });
  const env = { BASE_URL: gateway.url, VUS: '2', SOCKETS: '10', ROOMS: '1', RATE: '20', DURATION: '10s' };
  const breaks = async (name, ...metrics) => {
    const { code, output, summary } = await scenario(name, env);
    assert.equal(code, THRESHOLDS_FAILED, output);
    const broken = summary.thresholds.filter(({ ok }) => !ok).map(({ metric }) => metric);
    assert.deepEqual(broken, metrics, output);
  };
  await Promise.all([
    breaks('reconnect-storm', 'roomcast_unexplained_leaves'),
    // Nobody restarts anything.
    breaks('rolling-restart', 'roomcast_recoveries', 'sio_disconnects', 'sio_reconnects'),
  ]);
});

story('what is wrong beforehand is one clear line, and an exit code', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const fails = async (env, code, line) => {
    const run = await scenario('smoke', { BASE_URL: gateway.url, ...env }, { timeout: 30_000 });
    assert.equal(run.code, code, run.output);
    assert.equal(run.output.split('\n').filter((text) => line.test(text)).length, 1, run.output);
  };

  await step('a setting out of range', () => fails({ VUS: 'ten' }, SCRIPT_EXCEPTION, /VUS=ten: expected a whole number from 1 to 100000/));
  await step('nobody who answers', () => fails({ BASE_URL: 'http://127.0.0.1:1' }, ABORTED, /BASE_URL=http:\/\/127\.0\.0\.1:1: no answer/));
  await step('a server that is no Socket.IO server', async () => {
    const server = createServer((_, response) => response.writeHead(404).end('not here'));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    scope().defer(() => server.close());
    await fails({ BASE_URL: `http://127.0.0.1:${server.address().port}` }, ABORTED, /no Socket\.IO server answers there \(status 404\)/);
  });
  await step('a name that is taken', async () => {
    await connect(gateway, { name: 'again-probe' });
    await fails({ RUN: 'again' }, ABORTED, /it refuses the user again-probe: username_taken: again-probe is online/);
  });
});
