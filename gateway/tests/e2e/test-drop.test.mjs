// The switch by which load tests show that they notice lost messages: every n-th message to a member is not sent live,
// and is there when it is asked for.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, story, unique } from './harness.mjs';

const EVERY = 10;
const MESSAGES = 100;

story('messages that are lost on purpose', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--test-drop-every', String(EVERY)] });
  const room = unique('drops');
  const [ann, bob, zoe] = await Promise.all([connect(a), connect(a), connect(b)]);
  for (const member of [ann, bob, zoe]) await member.join(room);
  for (let n = 0; n < MESSAGES; n += 1) await ann.send(room, `text ${n}`);

  // Two members on the one gateway lose every tenth of 200, the one on the other every tenth of 100.
  const received = (...members) => members.reduce((sum, member) => sum + member.room(room).messages.length, 0);
  const expected = [(2 * MESSAGES * (EVERY - 1)) / EVERY, (MESSAGES * (EVERY - 1)) / EVERY];
  await eventually(() => received(ann, bob) >= expected[0] && received(zoe) >= expected[1], { what: 'the messages arrive' });
  // Whatever is sent to a connection before this answer has arrived with it.
  for (const member of [ann, bob, zoe]) await member.ok('online_users', { room });
  assert.deepEqual([received(ann, bob), received(zoe)], expected);

  const offsets = zoe.room(room).offsets;
  const holes = Array.from({ length: MESSAGES }, (_, n) => n + 1).filter((offset) => !offsets.includes(offset));
  assert.deepEqual(holes, Array.from({ length: MESSAGES / EVERY }, (_, n) => (n + 1) * EVERY), 'holes by offset');

  const { messages } = await zoe.ok('history', { room, limit: MESSAGES });
  assert.equal(messages.length, MESSAGES, 'the history has all of them');
  const back = await connect(b);
  const { messages: missed } = await back.join(room, { since: zoe.room(room).start });
  assert.equal(missed.length, MESSAGES, 'a client that returns is sent all of them');
});
