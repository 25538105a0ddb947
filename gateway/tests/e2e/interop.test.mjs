// The official JavaScript client on one gateway and python-socketio on another share a room. Both use
// the default namespace and their default transports.
import assert from 'node:assert/strict';

import { PythonClient, cluster, connect, eventually, step, story } from './harness.mjs';

const ROOM = 'interop';
const STOCK = { namespace: '/', transports: ['polling', 'websocket'] };

story('socket.io-client on A and python-socketio on B chat', { timeout: 90_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const ann = await connect(a, { name: 'ann', ...STOCK });
  const bob = new PythonClient('bob');
  await bob.connect(b);

  await step('each gets a welcome from its own node, with its name', async () => {
    assert.equal(ann.welcome.user, 'ann');
    assert.equal(ann.welcome.node, 'gw-a');
    const { payload } = await bob.told('welcome', () => true);
    assert.equal(payload.user, 'bob');
    assert.equal(payload.node, 'gw-b');
    assert.equal(bob.events[0].event, 'welcome', 'the first event of a connection');
  });

  await step('they see each other online', async () => {
    const first = await ann.join(ROOM);
    assert.deepEqual(first.online, { count: 1, users: ['ann'] });
    const second = await bob.ok('join', { room: ROOM });
    assert.deepEqual(second.online, { count: 2, users: ['ann', 'bob'] });
    assert.equal(second.epoch, first.epoch);
    await ann.sees(ROOM, 'ann', 'bob');
    for (const asked of [ann.ok('online_users', { room: ROOM }), bob.ok('online_users', { room: ROOM })]) {
      const { count, users } = await asked;
      assert.deepEqual({ count, users: [...users].sort() }, { count: 2, users: ['ann', 'bob'] });
    }
  });

  await step('messages go both ways, each acknowledged, to the sender too', async () => {
    const sent = await ann.send(ROOM, 'from JavaScript: Привет 🦀');
    const received = (await bob.told('message', ({ offset }) => offset === sent.offset)).payload;
    assert.deepEqual(
      { ...received },
      { id: sent.id, room: ROOM, epoch: sent.epoch, offset: sent.offset, ts: sent.ts, kind: 'text', user: 'ann', text: 'from JavaScript: Привет 🦀' },
    );
    const answered = await bob.ok('send_message', { room: ROOM, text: 'from Python: <b>hi</b> & "quotes"', id: 'py-1' });
    assert.deepEqual([answered.id, answered.room, answered.offset], ['py-1', ROOM, sent.offset + 1]);
    await ann.has(ROOM, answered.offset);
    assert.deepEqual(ann.room(ROOM).texts, ['from JavaScript: Привет 🦀', 'from Python: <b>hi</b> & "quotes"']);
    assert.deepEqual(ann.room(ROOM).messages.map(({ user, offset }) => [user, offset]), [
      ['ann', sent.offset],
      ['bob', answered.offset],
    ]);
    await bob.told('message', ({ id }) => id === 'py-1');
  });

  await step('history holds both messages, on either gateway', async () => {
    for (const page of [await ann.ok('history', { room: ROOM }), await bob.ok('history', { room: ROOM })]) {
      assert.deepEqual(page.messages.map(({ user, kind }) => [user, kind]), [['ann', 'text'], ['bob', 'text']]);
      assert.equal(page.more, false);
    }
  });

  await step('typing is seen by the other', async () => {
    await eventually(async () => {
      await ann.ok('typing', { room: ROOM, typing: true }); // volatile: may be lost, so sent again
      return bob.events.some(({ event, payload }) => event === 'typing' && payload.user === 'ann' && payload.typing);
    }, { every: 200 });
  });

  await step('the room is listed with both', async () => {
    await eventually(async () => {
      const { rooms } = await ann.ok('rooms', { limit: 200 });
      return rooms.some(({ room, count }) => room === ROOM && count === 2);
    });
  });

  await step('each sees the other leave and come back', async () => {
    await bob.ok('leave', { room: ROOM });
    await ann.seesLeave(ROOM, 'bob', 5_000);
    assert.ok(!ann.room(ROOM).online.has('bob'));
    await bob.ok('join', { room: ROOM });
    await ann.sees(ROOM, 'bob');
    await ann.ok('leave', { room: ROOM });
    await bob.told('presence', ({ room, left }) => room === ROOM && left.includes('ann'));
    await ann.join(ROOM);
    await bob.told('presence', ({ room, joined }) => room === ROOM && joined.includes('ann'));
  });

  await step('each sees the other disconnect', async () => {
    const carol = await connect(b, { name: 'carol', ...STOCK });
    await carol.join(ROOM);
    // python-socketio queues its disconnect packet and closes the socket from another thread. The socket may be closed
    // first, which is a leave after the grace.
    await bob.disconnect();
    await eventually(() => ann.room(ROOM).told('left', 'bob').length === 2, {
      timeout: 20_000,
      what: 'ann sees bob leave again',
    });
    ann.disconnect();
    await carol.seesLeave(ROOM, 'ann', 5_000);
    assert.deepEqual([...carol.room(ROOM).online], ['carol']);
  });
});
