// A busy room, whose messages are sent in batches, while members join and leave: no member sees a gap or a repetition
// between the answer to a join and the messages after it.
import assert from 'node:assert/strict';

import { Member } from './member.mjs';
import { cluster, eachBounded, step, story, unique } from './harness.mjs';

const CHURNING = 50;
const SPEAKING = 4;
const BURST = 25;
const FOR = 3_000;

/** Joins and leaves like a reloaded page, an early reconnect, or a user who leaves and joins again. */
const HABITS = [
  async (member, room) => {
    await member.leave();
    await member.join(room);
  },
  (member, room) => member.join(room),
  (member, room) => member.join(room, { since: { ...member.position } }),
  async (member, room) => {
    const since = { ...member.position };
    await member.leave();
    await member.join(room, { since: { ...since, offset: Math.max(since.offset, member.position.offset) } });
  },
  // Without waiting for acknowledgements.
  async (member, room) => {
    await Promise.all([member.leave(), member.join(room), member.join(room), member.leave(), member.join(room)]);
  },
];

async function hot({ staying, batchWindow }) {
  const { gateways } = await cluster({ gateways: 2, presence: 1, args: ['--batch-window', batchWindow] });
  const room = unique('hot');
  const many = (count) => eachBounded(Array.from({ length: count }), 20, (_, n) => Member.connect(gateways[n % 2]));
  const speakers = await many(SPEAKING);
  const churning = await many(CHURNING);
  const stayers = await many(staying);
  const members = [...speakers, ...churning, ...stayers];
  await eachBounded(members, 20, (member) => member.join(room));

  const end = performance.now() + FOR;
  let sentCount = 0;
  let turns = 0;
  const running = () => performance.now() < end || turns <= CHURNING || sentCount <= 20 * BURST;
  const speaking = speakers.map(async (speaker) => {
    while (running()) {
      const burst = Array.from({ length: BURST }, () => speaker.ok('send_message', { room, text: `${sentCount++}` }));
      const acks = await Promise.all(burst);
      acks.forEach(({ offset }, n) => assert.ok(n === 0 || offset > acks[n - 1].offset, 'a speaker\'s own order'));
    }
  });
  const moving = churning.map(async (member, n) => {
    for (let turn = n; running(); turn++, turns++) await HABITS[turn % HABITS.length](member, room);
  });
  await Promise.all([...speaking, ...moving]);

  const { offset } = await speakers[0].ok('send_message', { room, text: 'the last' });
  assert.equal(offset, sentCount + 1);
  for (const member of members) await member.has(offset);
  const wrong = members.flatMap((member) => member.wrong);
  assert.equal(wrong.length, 0, `${wrong.length} wrong, ${sentCount} messages, ${turns} turns:\n${wrong.slice(0, 20).join('\n')}`);
  for (const member of [...speakers, ...stayers]) assert.equal(member.received, offset, member.name);
}

story('a busy room that is served inline', { timeout: 60_000 }, () => hot({ staying: 10, batchWindow: '20ms' }));
story('a busy room that is served by the fan-out task', { timeout: 60_000 }, () => hot({ staying: 290, batchWindow: '20ms' }));
