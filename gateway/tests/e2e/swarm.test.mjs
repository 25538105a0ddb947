// The load generator by scenario name, against a real cluster: what it counts, what it leaves, and how it ends. Several
// processes, over rooms of their own and over the members of one room.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { cluster, scope, step, story } from './harness.mjs';

const BIN_DIR = process.env.ROOMCAST_BIN_DIR ?? fileURLToPath(new URL('../../../target/debug', import.meta.url));

/** Runs the swarm; returns its exit code, what it said, and the summary that it left. */
async function swarm(servers, ...args) {
  const out = await mkdtemp(join(tmpdir(), 'roomcast-swarm-'));
  scope().defer(() => rm(out, { recursive: true, force: true }));
  const at = servers.length > 0 ? ['--server', servers.map(({ url }) => url).join(',')] : [];
  const options = { timeout: 60_000, killSignal: 'SIGKILL' };
  const { code, said } = await new Promise((resolve) => {
    execFile(join(BIN_DIR, 'roomcast-swarm'), [...args, ...at, '--out', out], options, (error, stdout, stderr) =>
      resolve({ code: error ? (error.code ?? error.signal) : 0, said: `${stdout}\n${stderr}` }),
    );
  });
  const summary = await readFile(join(out, 'summary.json'), 'utf8').then(JSON.parse, () => undefined);
  const count = (name) => summary.metrics.find(({ metric }) => metric === name).values.count;
  return { code, said, summary, count };
}

const BIG = ['big-room', '--connections', '60', '--processes', '3', '--rate', '20', '--duration', '2s', '--p99', '5000'];
const CHAT = ['chat', '--connections', '60', '--members', '20', '--processes', '2', '--rate', '60', '--duration', '2s', '--p99', '5000'];

story('the swarm counts every delivery', { timeout: 120_000 }, async () => {
  const { gateways } = await cluster({ gateways: 2, presence: 1 });

  await step('rooms of several processes', async () => {
    const { code, said, summary, count } = await swarm(gateways, ...CHAT);
    assert.equal(code, 0, said);
    assert.ok(summary.passed && summary.scenario === 'chat', said);
    assert.deepEqual([count('roomcast_sends'), count('roomcast_deliveries')], [120, 120 * 20]);
  });

  await step('one room whose members are in several processes', async () => {
    const { code, said, count } = await swarm(gateways, ...BIG);
    assert.equal(code, 0, said);
    assert.deepEqual([count('roomcast_sends'), count('roomcast_deliveries')], [40, 40 * 60]);
    assert.match(said, /\d+ s {2}\w+: \d+ of 60 joined/, 'progress');
  });
});

story('the swarm notices lost messages', { timeout: 120_000 }, async () => {
  const { gateways } = await cluster({ gateways: 2, presence: 1, args: ['--test-drop-every', '1000'] });
  for (const [args, lost] of [[CHAT, 2], [BIG, 2]]) {
    const { code, said, summary, count } = await swarm(gateways, ...args);
    assert.equal(code, 99, said);
    assert.equal(summary.passed, false);
    assert.ok(count('roomcast_missing') >= lost, said);
    assert.match(said, /FAILED {2}roomcast_missing: count==0/);
  }
});

story('the swarm says in one line what is wrong', { timeout: 60_000 }, async () => {
  const ends = async (pattern, servers, ...args) => {
    const { code, said, summary } = await swarm(servers, ...args);
    assert.equal(code, 1, said);
    assert.match(said, pattern);
    assert.equal(summary, undefined);
  };
  await ends(/^roomcast-swarm: connecting to 127.0.0.1:1: Connection refused/m, [{ url: 'http://127.0.0.1:1' }], 'chat');
  await ends(/it speaks no TLS/, [{ url: 'https://127.0.0.1:1' }], 'chat');
  await ends(/no scenario is called "tea"; there are chat, /, [], 'tea');
  await ends(/at most 1000000 connections/, [], 'chat', '--connections', '2000000');
  const { gateways } = await cluster({ gateways: 1, redis: false });
  await ends(/no upgrade: HTTP\/1.1 404/, [{ url: gateways[0].adminUrl }], 'chat');
});
