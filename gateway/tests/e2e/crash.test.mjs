// A gateway is killed. Users who do not reconnect leave within 20 seconds, with `presence` events; users who reconnect
// through another gateway are never shown as left and miss nothing.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, proxy, quiet, story } from './harness.mjs';

const ROOM = 'crash';
const LEAVE_WITHIN = 20_000;
/** The default lease; the second sweep runs one lease after the first. */
const LEASE = 15_000;

story('kill -9 of gateway B', { timeout: 120_000 }, async () => {
  const { gateways: [a, b, c] } = await cluster({ gateways: 3, presence: 2 });
  const olga = await connect(a, { name: 'olga' });
  const gone = await connect(b, { name: 'gone', reconnection: false });
  const address = await proxy([b, c]);
  const back = await connect(address, { name: 'back', resume: 'the secret of back', rejoin: true });
  for (const client of [olga, gone, back]) await client.join(ROOM);
  await olga.sees(ROOM, 'olga', 'gone', 'back');
  assert.equal(back.welcome.node, 'gw-b');

  // Messages are sent all the time, so that there is something to miss.
  const acked = [];
  let talking = true;
  const talk = (async () => {
    for (let n = 1; talking; n++) {
      acked.push(await olga.send(ROOM, `olga ${n}`));
      await quiet(20);
    }
  })();
  await back.has(ROOM, 20);
  await gone.has(ROOM, 20);

  const killed = performance.now();
  const offsetAtKill = acked.at(-1).offset;
  await b.kill9();

  // The client that reconnects by itself, and gets what it missed.
  await eventually(() => back.welcome.node === 'gw-c' && back.joins.length === 2, {
    timeout: LEAVE_WITHIN,
    what: 'the client of B is served by C',
  });
  const { recovered, messages } = back.joins[1];
  assert.equal(recovered, true, 'the log fills the gap');
  assert.ok(messages.length > 0, 'there was a gap to fill');
  assert.equal(olga.room(ROOM).told('left', 'gone').length, 0, 'nobody leaves before the lease has expired');

  // The client that does not.
  const leftAt = await olga.seesLeave(ROOM, 'gone', LEAVE_WITHIN - (performance.now() - killed) + 1_000);
  assert.ok(leftAt - killed <= LEAVE_WITHIN, `gone was seen to leave after ${Math.round(leftAt - killed)} ms`);
  assert.ok(!olga.room(ROOM).online.has('gone'));

  // Tests an absence: the returned user stays, also after the second sweep.
  await quiet(LEASE + 3_000);
  talking = false;
  await talk;
  assert.deepEqual(olga.room(ROOM).told('left', 'back'), [], 'the returned user never left');
  assert.equal(olga.room(ROOM).told('left', 'gone').length, 1, 'one leave event');
  const { count, users } = await olga.ok('online_users', { room: ROOM });
  assert.deepEqual({ count, users: [...users].sort() }, { count: 2, users: ['back', 'olga'] });

  // Each message once, for the client that reconnected and for one that was connected all the time.
  const last = acked.at(-1).offset;
  assert.ok(last > offsetAtKill);
  const expected = Array.from({ length: last }, (_, i) => i + 1);
  for (const client of [olga, back]) {
    await client.has(ROOM, last);
    assert.deepEqual(client.room(ROOM).offsets, expected, client.name);
  }
  assert.deepEqual(back.room(ROOM).messages.map(({ id }) => id), acked.map(({ id }) => id));
  console.log(`# gone was seen to leave ${Math.round(leftAt - killed)} ms after the kill; ${messages.length} messages recovered`);
});
