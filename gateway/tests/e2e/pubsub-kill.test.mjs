// Redis closes all subscriber connections during traffic. Within two seconds delivery has recovered: messages sent
// meanwhile have arrived in order and once, and later ones arrive as before.
import assert from 'node:assert/strict';

import { cluster, connect, eachBounded, quiet, story, unique } from './harness.mjs';

const WHOLE_WITHIN = 2_000;
/** Time allowed for a delivery without faults, on a machine that runs other tests at the same time. */
const ORDINARY = 1_000;

/** Sends to one room after another, at this interval, until stopped; records every acknowledgement with its time. */
function traffic(senders, every) {
  const acked = [];
  let running = true;
  const loops = senders.map(async ({ client, rooms }) => {
    for (let n = 0; running; n++) {
      const ack = await client.send(rooms[n % rooms.length], `${client.name} ${n}`);
      acked.push({ ...ack, at: performance.now() });
      await quiet(every);
    }
  });
  return { acked, stop: () => ((running = false), Promise.all(loops)) };
}

/** Asserts that every member got every message of its rooms once, in order and in time; returns the slowest time. */
async function verify(members, acked, killed) {
  const byRoom = new Map(acked.map(({ room }) => [room, []]));
  for (const ack of acked) byRoom.get(ack.room).push(ack);
  let slowest = 0;
  for (const { client, rooms } of members) {
    for (const room of rooms.filter((name) => byRoom.has(name))) {
      const sent = byRoom.get(room).sort((x, y) => x.offset - y.offset);
      await client.has(room, sent.at(-1).offset);
      const got = client.room(room).messages;
      assert.deepEqual(
        got.map(({ id }) => id),
        sent.map(({ id }) => id),
        `${client.name} of ${client.welcome.node} in ${room}`,
      );
      got.forEach(({ at }, i) => {
        const due = Math.max(sent[i].at + ORDINARY, killed + WHOLE_WITHIN);
        assert.ok(
          at <= due,
          `${client.name} in ${room}: offset ${sent[i].offset}, acknowledged ${Math.round(sent[i].at - killed)} ms ` +
            `after the kill, came ${Math.round(at - killed)} ms after it`,
        );
        if (at > killed) slowest = Math.max(slowest, at - Math.max(killed, sent[i].at));
      });
    }
  }
  return Math.round(slowest);
}

async function killSubscriptions(redis, atLeast) {
  const killed = performance.now();
  const count = await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
  assert.ok(count >= atLeast, `${count} subscriptions were cut, ${atLeast} gateways had some`);
  return killed;
}

story('one room', { timeout: 60_000 }, async () => {
  const { gateways, redis } = await cluster({ gateways: 3, presence: 1 });
  const rooms = [unique('cut')];
  const members = [];
  for (const gateway of [...gateways, ...gateways]) {
    const client = await connect(gateway);
    await client.join(rooms[0]);
    members.push({ client, rooms });
  }
  const run = traffic(members.slice(0, 2), 5);
  await quiet(500);
  const killed = await killSubscriptions(redis, 3);
  await quiet(WHOLE_WITHIN + 1_500);
  await run.stop();
  const during = run.acked.filter(({ at }) => at > killed && at < killed + 500).length;
  assert.ok(during > 0, 'there was traffic while subscriptions were cut');
  const slowest = await verify(members, run.acked, killed);
  console.log(`# 1 room: ${run.acked.length} messages, slowest delivery after the cut ${slowest} ms`);
});

story('2,000 rooms', { timeout: 150_000 }, async () => {
  const { gateways: [a, b], redis } = await cluster({ gateways: 2, presence: 1 });
  const prefix = unique('cut');
  const members = [];
  for (let group = 0; group < 8; group++) {
    const rooms = Array.from({ length: 250 }, (_, i) => `${prefix}-${group}-${i}`);
    for (const gateway of [a, b]) members.push({ client: await connect(gateway), rooms });
  }
  await Promise.all(
    members.map(({ client, rooms }) => eachBounded(rooms, 16, (room) => client.join(room, { limit: 0 }))),
  );
  const run = traffic(members, 20);
  await quiet(500);
  const killed = await killSubscriptions(redis, 2);
  await quiet(WHOLE_WITHIN + 500);
  await run.stop();
  assert.ok(run.acked.some(({ at }) => at > killed && at < killed + 500), 'there was traffic meanwhile');

  // All 2,000 rooms receive messages again, through the other gateway.
  const probes = members.filter((_, i) => i % 2 === 0);
  await Promise.all(
    probes.map(({ client, rooms }) =>
      eachBounded(rooms, 4, async (room) => {
          run.acked.push({ ...(await client.send(room, 'probe')), at: performance.now() });
      }),
    ),
  );
  const slowest = await verify(members, run.acked, killed);
  console.log(`# 2,000 rooms: ${run.acked.length} messages, slowest delivery after the cut ${slowest} ms`);
});
