// All members see one order, and an id identifies one message.
import assert from 'node:assert/strict';

import { assertRefusal, cluster, connect, step, story, unique } from './harness.mjs';

const EACH = 500;

story('two senders on two gateways, 1,000 messages at once', { timeout: 120_000 }, async () => {
  const { gateways } = await cluster({ gateways: 3, presence: 1 });
  const [a, b] = gateways;
  const room = unique('order');
  const members = [];
  for (const gateway of gateways) {
    for (const transports of [['websocket'], ['polling', 'websocket'], ['polling']]) {
      const member = await connect(gateway, { transports });
      await member.join(room);
      members.push(member);
    }
  }
  const [ann, bob] = [await connect(a, { name: 'ann' }), await connect(b, { name: 'bob' })];
  for (const sender of [ann, bob]) await sender.join(room);
  members.push(ann, bob);

  const everything = [ann, bob].flatMap((sender) =>
    Array.from({ length: EACH }, (_, n) => sender.send(room, `${sender.name} ${n}`, `${sender.name}-${n}`)),
  );
  const acks = await Promise.all(everything);

  const expected = Array.from({ length: 2 * EACH }, (_, i) => i + 1);
  assert.deepEqual(acks.map(({ offset }) => offset).sort((x, y) => x - y), expected, 'acknowledged offsets');
  assert.equal(new Set(acks.map(({ epoch }) => epoch)).size, 1);
  const byOffset = new Map(acks.map((ack) => [ack.offset, ack.id]));
  const ids = expected.map((offset) => byOffset.get(offset));

  for (const member of members) {
    await member.has(room, 2 * EACH, 20_000);
    assert.deepEqual(member.room(room).offsets, expected, `${member.name} of ${member.welcome.node}`);
    assert.deepEqual(member.room(room).messages.map(({ id }) => id), ids, `${member.name} of ${member.welcome.node}`);
  }
  for (const sender of [ann, bob]) {
    const own = ids.filter((id) => id.startsWith(`${sender.name}-`));
    assert.deepEqual(own, Array.from({ length: EACH }, (_, n) => `${sender.name}-${n}`), 'a sender\'s own order');
  }

  await step('history returns the messages as they were delivered, page by page', async () => {
    const read = [];
    for (let before, more = true; more; before = read[0].offset) {
      const page = await members[0].ok('history', { room, limit: 200, ...(before && { before }) });
      assert.ok(page.messages.length > 0 && page.messages.length <= 200);
      read.unshift(...page.messages);
      more = page.more;
    }
    assert.deepEqual(read.map(({ id }) => id), ids);
  });
});

story('an id identifies one message', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const room = unique('ids');
  const resume = 'one user, two devices';
  const [ann, tab, bob] = [
    await connect(a, { name: 'ann', resume }),
    await connect(b, { name: 'ann', resume }),
    await connect(b, { name: 'bob' }),
  ];
  for (const client of [ann, tab, bob]) await client.join(room);

  await step('a retry is stored once and acknowledged with the first result', async () => {
    const first = await ann.send(room, 'once', 'same');
    const again = await ann.send(room, 'once', 'same');
    const elsewhere = await tab.send(room, 'once', 'same');
    assert.deepEqual(again, first);
    assert.deepEqual(elsewhere, first, 'the same user on another gateway');
  });

  await step('also concurrently, and through two gateways', async () => {
    const acks = await Promise.all([ann, tab, ann, tab].map((client) => client.send(room, 'race', 'raced')));
    assert.equal(new Set(acks.map(({ offset }) => offset)).size, 1);
  });

  await step('another user is refused that id', async () => {
    const refusal = await bob.ask('send_message', { room, text: 'mine', id: 'same' });
    assertRefusal(refusal, 'id_taken', 'send_message');
    assert.equal(refusal.retry_after_ms, undefined, 'repeating it never makes sense');
  });

  await step('in another room the id is free', async () => {
    const other = unique('ids');
    await bob.join(other);
    assert.equal((await bob.send(other, 'mine', 'same')).offset, 1);
  });

  await step('every member has each message once', async () => {
    const { offset } = await bob.send(room, 'last');
    assert.equal(offset, 3);
    for (const client of [ann, tab, bob]) {
      await client.has(room, offset);
      assert.deepEqual(client.room(room).texts, ['once', 'race', 'last']);
    }
  });
});
