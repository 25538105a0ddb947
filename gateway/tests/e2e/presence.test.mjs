// What members are told and whose a name is when connections drop, users move, Redis is lost and a gateway
// freezes: whoever is there is shown, whoever left is not, and a name has one owner.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, quiet, refusedConnect, story } from './harness.mjs';
import { scrape } from './metrics.mjs';

const ROOM = 'people';
/** The default grace. */
const GRACE = 15_000;

/** Whom the gateway of this client counts in the room. */
const online = async (client) => (await client.ok('online_users', { room: ROOM })).users.sort();

story('another tab leaves, a user moves and leaves', { timeout: 90_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const olga = await connect(a, { name: 'olga' });
  await olga.join(ROOM);
  const tabs = { name: 'tabs', resume: 'the secret of tabs', reconnection: false };
  const [first, second] = [await connect(a, tabs), await connect(a, tabs)];
  for (const tab of [first, second]) await tab.join(ROOM);
  await olga.sees(ROOM, 'tabs');

  first.cut();
  await quiet(300);
  second.disconnect();
  // Absence is what is tested: the tab that left says nothing of the one that dropped.
  await quiet(2_500);
  const third = await connect(a, tabs);
  await third.join(ROOM);
  await quiet(GRACE + 1_500);
  assert.deepEqual(olga.room(ROOM).told('left', 'tabs'), [], 'the dropped tab came back in time');

  third.cut();
  const moved = await connect(b, tabs);
  await moved.join(ROOM);
  await quiet(1_500);
  const left = performance.now();
  moved.disconnect();
  const seen = await olga.seesLeave(ROOM, 'tabs', GRACE / 2);
  const again = await connect(a, { name: 'tabs', resume: 'somebody else' });
  console.log(`# the leave on B was seen on A after ${Math.round(seen - left)} ms, and the name was free`);
  again.disconnect();
});

story('Redis comes back empty within the lease', { timeout: 120_000 }, async () => {
  const { redis, gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const olga = await connect(a, { name: 'olga' });
  await olga.join(ROOM);
  const users = [];
  for (let n = 0; n < 6; n++) users.push(await connect([a, b][n % 2], { name: `user ${n}`, resume: `secret ${n}` }));
  for (const user of users) await user.join(ROOM);
  await olga.sees(ROOM, ...users.map(({ name }) => name));

  await redis.command('FLUSHALL');
  // Some leave while the gateways do not know yet that their leases are gone, and some later.
  for (const user of users.slice(0, 3)) user.disconnect();
  await eventually(async () => String(await online(olga)) === String(['olga', 'user 3', 'user 4', 'user 5']), {
    timeout: 20_000,
    what: 'those who stayed are there, and nobody else',
  });
  for (const user of users.slice(3)) user.disconnect();
  await eventually(async () => (await online(olga)).length === 1, { timeout: 20_000, what: 'all have left' });
  await eventually(() => String([...olga.room(ROOM).online]) === 'olga', { what: 'what a member was told is what is true' });
  const rival = await connect(b, { name: 'user 5', resume: 'somebody else' });
  rival.disconnect();
});

story('a frozen gateway loses a name', { timeout: 120_000 }, async () => {
  const args = ['--lease', '3s'];
  const { redis, gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args, presenceArgs: args });
  const owner = await connect(a, { name: 'ann', resume: 'the first', reconnection: false });
  await owner.join(ROOM);
  await a.process.freeze();
  await eventually(async () => (await redis.command('ZCARD', 'rc1:{n}:leases')) === 1, { what: 'its lease ran out', timeout: 15_000 });
  const taker = await connect(b, { name: 'ann', resume: 'the second' });
  await taker.join(ROOM);
  a.process.signal('SIGCONT');
  await eventually(() => !owner.socket.connected, { timeout: 15_000, what: 'the former owner is disconnected' });
  assert.equal((await scrape(a)).of('roomcast_cuts_total{reason="name_lost"}'), 1);
  const refusal = await refusedConnect(a, { name: 'ann', resume: 'the first' });
  assert.equal(refusal.message, 'username_taken');
  await taker.send(ROOM, 'one ann is left');
});
