// 20,000 events of one client that does not wait for acknowledgements, on a busy node: all are handled in the order
// in which they were sent, and none is refused. Reading from the client pauses while the queue is full.
import assert from 'node:assert/strict';

import { Member } from './member.mjs';
import { cluster, eachBounded, eventually, story, unique } from './harness.mjs';

const EVENTS = 20_000;
const OTHERS = { members: 40, speakers: 4 };

/** Background load in another room until stopped; returns the number of messages. */
async function load(gateway) {
  const room = unique('others');
  const members = await eachBounded(Array.from({ length: OTHERS.members }), 20, () => Member.connect(gateway));
  for (const member of members) await member.join(room);
  let running = true;
  let sentCount = 0;
  const speaking = members.slice(0, OTHERS.speakers).map(async (speaker) => {
    for (; running; sentCount++) await speaker.ok('send_message', { room, text: 'x'.repeat(256) });
  });
  return async () => {
    running = false;
    await Promise.all(speaking);
    for (const member of members) await member.has(sentCount);
    assert.deepEqual(members.flatMap(({ wrong }) => wrong), []);
    return sentCount;
  };
}

story('20,000 events without waiting', { timeout: 90_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1 });
  const room = unique('flood');
  const [ann, bob] = [await Member.connect(gateway), await Member.connect(gateway)];
  for (const member of [ann, bob]) await member.join(room);
  const ids = [];
  bob.onMessage = (frame) => ids.push(Number(/"id":"a-(\d+)"/.exec(frame)[1]));
  const finish = await load(gateway);

  const answered = [];
  const acks = Array.from({ length: EVENTS }, (_, n) =>
    ann.ask('send_message', { room, text: `${n}`, id: `a-${n}` }, (ack) => answered.push([n, ack])),
  );
  await eventually(() => answered.length === EVENTS || ann.closed, {
    timeout: 75_000,
    every: 100,
    what: () => `all are answered: ${answered.length}, and ${ids.length} received`,
  });
  const sentCount = await finish();
  assert.equal(ann.closed, false, `after ${answered.length} answers`);
  await Promise.all(acks);

  const refused = answered.filter(([, ack]) => ack.status !== 'ok');
  assert.equal(refused.length, 0, `${refused.length} were refused: ${JSON.stringify(refused[0])}`);
  const expected = Array.from({ length: EVENTS }, (_, n) => n);
  assert.deepEqual(answered.map(([n]) => n), expected, 'answers come in the order of the events');
  assert.deepEqual(answered.map(([, { offset }]) => offset), expected.map((n) => n + 1), 'offsets grow in the same order');
  answered.forEach(([n, { id }]) => assert.equal(id, `a-${n}`));
  await bob.has(EVENTS);
  assert.deepEqual(ids, expected, 'another member receives them in the same order');
  for (const member of [ann, bob]) assert.deepEqual(member.wrong, []);
  assert.ok(sentCount > 100, `the node had other work: ${sentCount} messages of others`);
});
