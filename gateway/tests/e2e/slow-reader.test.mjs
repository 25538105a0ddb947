// A member that reads nothing is disconnected, at the bound or at the deadline; the others do not notice, and it
// recovers without a loss. Shutdown does not wait for it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { Member } from './member.mjs';
import { cluster, connect, eachBounded, eventually, request, step, story, unique } from './harness.mjs';

const MEMBERS = 200;
const TEXT = 12 * 1024;
const LONG = 16 * 1024;

/** A counter of this gateway with this label; 0 where it has never counted. */
async function counter(gateway, name, label) {
  const { body } = await request(`${gateway.adminUrl}/metrics`);
  const line = body.split('\n').find((line) => line.startsWith(`${name}{`) && line.includes(`"${label}"`));
  return line ? Number(line.split(' ').at(-1)) : 0;
}
const slowReaders = (gateway) => counter(gateway, 'roomcast_cuts_total', 'slow_reader');
const stalled = (gateway) => counter(gateway, 'roomcast_disconnects_total', 'stalled');

/**
 * More than the kernel takes of a connection whose receiver never reads: the sending side may grow to its
 * greatest size, the receiving side keeps its first.
 */
const sizes = (file) => readFileSync(`/proc/sys/net/ipv4/${file}`, 'utf8').trim().split(/\s+/).map(Number);
const KERNEL = sizes('tcp_wmem')[2] + sizes('tcp_rmem')[1];
const kernelIsFull = (sentCount) => sentCount * LONG > KERNEL;

/** Sends messages to the room, a few at a time, until the condition holds; returns their number. */
async function sendUntil(speaker, room, condition, { text = TEXT, most = 5_000 } = {}) {
  let sentCount = 0;
  for (; sentCount < most; sentCount += 4) {
    if (sentCount % 16 === 0 && (await condition(sentCount))) return sentCount;
    const send = () => speaker.ok('send_message', { room, text: 'x'.repeat(text) });
    await Promise.all([send(), send(), send(), send()]);
  }
  assert.fail(`${most} messages of ${text} bytes were sent, and the condition did not become true`);
}

story('a slow reader in a room of 200', { timeout: 90_000 }, async () => {
  const args = ['--client-buffer', '262144', '--client-stall', '20s', '--grace', '1s'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1, args });
  const room = unique('slow');
  const members = await eachBounded(Array.from({ length: MEMBERS - 1 }), 20, () => Member.connect(gateway));
  await eachBounded(members, 20, (member) => member.join(room));
  const watcher = await connect(gateway, { name: 'watcher' });
  const [speaker, slow] = members;
  await watcher.join(room);

  await step('is disconnected at the bound, and only it', async () => {
    slow.raw.ws.pause();
    await sendUntil(speaker, room, async () => (await slowReaders(gateway)) > 0);
    assert.equal(await slowReaders(gateway), 1);
    assert.equal(await stalled(gateway), 0);
  });
  await step('leaves after the grace', async () => {
    await watcher.seesLeave(room, slow.name, 10_000);
    assert.equal((await watcher.ok('online_users', { room })).count, MEMBERS - 1);
  });
  await step('the others received everything, in order and once', async () => {
    const { offset } = await speaker.ok('send_message', { room, text: 'the last' });
    const others = members.filter((member) => member !== slow);
    for (const member of others) await member.has(offset);
    await watcher.has(room, offset);
    assert.deepEqual(others.flatMap(({ wrong }) => wrong), []);
    for (const member of others) assert.equal(member.received, offset, member.name);
    assert.deepEqual(watcher.room(room).offsets, Array.from({ length: offset }, (_, n) => n + 1));
    assert.equal(others.filter(({ closed }) => closed).length, 0);
  });
  await step('if it reads on, it gets the first messages, then the end of the stream', async () => {
    slow.raw.ws.resume();
    await slow.raw.ended();
    assert.deepEqual(slow.wrong, []);
    assert.ok(slow.received > 0);
  });
});

story('an official client that was disconnected reconnects by itself', { timeout: 60_000 }, async () => {
  const args = ['--client-buffer', '262144', '--client-stall', '20s', '--grace', '10s'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1, args });
  const room = unique('back');
  const [speaker, watcher] = [await Member.connect(gateway), await connect(gateway, { name: 'watcher' })];
  const slow = await connect(gateway, { name: 'slow', rejoin: true, resume: 'of slow' });
  for (const member of [speaker, watcher, slow]) await member.join(room);

  slow.socket.io.engine.transport.ws.pause();
  const sentCount = await sendUntil(speaker, room, async () => (await slowReaders(gateway)) > 0);
  // It misses more than it was sent, and not more than is replayed.
  assert.ok(sentCount < 900, `${sentCount} messages`);
  const first = slow.welcome;
  slow.socket.io.engine.transport.ws.resume();
  await eventually(() => slow.joins.length === 2, { timeout: 12_000, what: () => `it joins again: ${slow.joins.length}` });
  assert.equal(slow.joins[1].status, 'ok');
  assert.equal(slow.joins[1].recovered, true);
  assert.ok(slow.joins[1].messages.length > 0, 'something was missing');
  assert.notEqual(slow.welcome, first);

  const { offset } = await speaker.ok('send_message', { room, text: 'the last' });
  await slow.has(room, offset);
  await watcher.has(room, offset);
  const expected = Array.from({ length: offset }, (_, n) => n + 1);
  assert.deepEqual(slow.room(room).offsets, expected, 'each message once');
  assert.deepEqual(watcher.room(room).offsets, expected);
  assert.deepEqual(watcher.room(room).told('left', 'slow'), [], 'it never left');
  assert.equal(await slowReaders(gateway), 1);
});

story('a peer that reads nothing is disconnected at the deadline', { timeout: 60_000 }, async () => {
  // A bound that is not reached in this test.
  const args = ['--client-buffer', `${64 << 20}`, '--client-stall', '2s', '--grace', '1s'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1, args });
  const room = unique('stall');
  const [speaker, watcher] = [await Member.connect(gateway), await connect(gateway, { name: 'watcher' })];
  const slow = await Member.connect(gateway);
  for (const member of [speaker, watcher, slow]) await member.join(room);
  slow.raw.ws.pause();
  // Nothing more is sent, so only the deadline can end the connection.
  const sentCount = await sendUntil(speaker, room, kernelIsFull, { text: LONG });
  await eventually(async () => (await stalled(gateway)) > 0, { timeout: 10_000, every: 50, what: 'the stalled peer is disconnected' });
  await watcher.seesLeave(room, slow.name);
  assert.equal(await stalled(gateway), 1);
  assert.equal(await slowReaders(gateway), 0);
  await speaker.has(sentCount);
  await watcher.has(room, sentCount);
  assert.deepEqual(speaker.wrong, []);
});

story('a gateway stops while a peer reads nothing', { timeout: 60_000 }, async () => {
  const args = ['--client-buffer', `${64 << 20}`, '--client-stall', '60s', '--drain', '1s'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args });
  const room = unique('term');
  const [speaker, slow] = [await Member.connect(gateway), await Member.connect(gateway)];
  for (const member of [speaker, slow]) await member.join(room);
  slow.raw.ws.pause();
  await sendUntil(speaker, room, kernelIsFull, { text: LONG });
  const begin = performance.now();
  await gateway.stop(); // and with exit code 0
  const took = performance.now() - begin;
  assert.ok(took < 4_000, `it took ${took} ms after SIGTERM`);
});

story('replies larger than the bound do not make a slow reader', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const room = unique('long');
  const ann = await connect(gateway, { reconnection: false });
  const { epoch } = await ann.join(room);
  const texts = Array.from({ length: 200 }, (_, n) => `${n} ${'x'.repeat(LONG - 10)}`);
  for (const text of texts) await ann.send(room, text);
  // Common clients take no more than 1 MiB or 4 MiB as one message.
  const isBounded = (ack) => assert.ok(JSON.stringify(ack).length < 1 << 20, `${JSON.stringify(ack).length}`);
  await step('the history, page by page', async () => {
    const read = [];
    for (let page; page?.more ?? true; ) {
      page = await ann.ok('history', { room, limit: 200, ...(read[0] ? { before: read[0].offset } : {}) });
      isBounded(page);
      read.unshift(...page.messages);
    }
    assert.deepEqual(read.map(({ text }) => text), texts);
  });
  await step('the missed messages of a join: in the answer, then as events', async () => {
    const bob = await connect(gateway, { reconnection: false });
    const ack = await bob.join(room, { since: { epoch, offset: 0 } });
    isBounded(ack);
    assert.deepEqual([ack.recovered, ack.more, ack.messages.length], [true, true, ack.offset]);
    await ann.send(room, 'the last');
    await bob.has(room, texts.length + 1);
    assert.deepEqual(bob.room(room).offsets, Array.from({ length: texts.length + 1 }, (_, n) => n + 1));
  });
  assert.equal(await slowReaders(gateway), 0);
});
