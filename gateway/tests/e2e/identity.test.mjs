// Identity: connections with one secret are one user, a name in use is refused to others, and a user leaves at once
// after an explicit leave, and after the grace when the transport was lost.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, quiet, refusedConnect, step, story, unique } from './harness.mjs';

/** Presence events are delayed by up to about a second. */
const PRESENCE_DELAY = 3_000;

story('two tabs with one secret are one user', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const room = unique('tabs');
  const olga = await connect(a, { name: 'olga' });
  await olga.join(room);
  const tabs = [];
  for (const gateway of [a, b]) {
    const tab = await connect(gateway, { name: 'ann', resume: 'chosen by ann' });
    assert.equal(tab.welcome.resume, undefined, 'a chosen secret is not repeated');
    const { online } = await tab.join(room);
    assert.deepEqual(online, { count: 2, users: ['ann', 'olga'] });
    tabs.push(tab);
  }
  await olga.sees(room, 'ann');

  // A message of one tab reaches the other.
  const { offset } = await tabs[0].send(room, 'to my other tab');
  for (const client of [...tabs, olga]) await client.has(room, offset);
  assert.deepEqual(tabs[1].room(room).texts, ['to my other tab']);

  tabs[0].disconnect();
  await quiet(PRESENCE_DELAY);
  assert.deepEqual(olga.room(room).told('left', 'ann'), [], 'the second tab is still there');
  assert.ok(olga.room(room).online.has('ann'));

  tabs[1].disconnect();
  await olga.seesLeave(room, 'ann');
  await quiet(PRESENCE_DELAY);
  assert.equal(olga.room(room).told('joined', 'ann').length, 1, 'one join');
  assert.equal(olga.room(room).told('left', 'ann').length, 1, 'one leave');
});

story('a secret that the server generated makes a later connection the same user', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const first = await connect(a, { name: 'ann' });
  const { resume } = first.welcome;
  assert.ok(typeof resume === 'string' && resume.length >= 16, 'without a secret of the client, the server generates one');
  const second = await connect(b, { name: 'ann', resume });
  assert.equal(second.welcome.user, 'ann');
});

story('a name in use is refused to others', { timeout: 90_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 2 });
  const room = unique('names');
  const refuse = async (gateway, name, resume) => {
    const error = await refusedConnect(gateway, { name, resume });
    assert.equal(error.message, 'username_taken');
  };
  const chose = await connect(b, { name: 'ann', resume: 'the secret of ann', reconnection: false });
  const given = await connect(b, { name: 'bob', reconnection: false });
  for (const owner of [chose, given]) await owner.join(room);

  await step('while its owner is connected, on every gateway', async () => {
    for (const gateway of [a, b]) {
      for (const name of ['ann', 'bob']) {
        await refuse(gateway, name);
        await refuse(gateway, name, 'another secret');
      }
    }
  });

  await step('the owner does not notice', async () => {
    for (const owner of [chose, given]) await owner.send(room, 'still here');
  });

  await step('just after the owner\'s gateway died, within its lease', async () => {
    await b.kill9();
    const killed = performance.now();
    for (const name of ['ann', 'bob']) {
      await refuse(a, name);
      await refuse(a, name, 'another secret');
    }
    assert.ok(performance.now() - killed < 14_000, 'the answers came within the lease');
  });

  await step('the owner reconnects with the name, on another gateway', async () => {
    const again = await connect(a, { name: 'ann', resume: 'the secret of ann' });
    assert.equal(again.welcome.user, 'ann');
    const bob = await connect(a, { name: 'bob', resume: given.welcome.resume });
    assert.equal(bob.welcome.user, 'bob');
  });
});

story('a disconnect is a leave at once, a lost transport after the grace', { timeout: 90_000 }, async () => {
  const GRACE = 5_000;
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '5s'] });
  const room = unique('grace');
  const olga = await connect(a, { name: 'olga' });
  await olga.join(room);
  const enter = async (name, gateway = b) => {
    const client = await connect(gateway, { name, resume: `the secret of ${name}`, reconnection: false });
    await client.join(room);
    await olga.sees(room, name);
    return client;
  };

  await step('a Socket.IO disconnect acts at once', async () => {
    const client = await enter('disconnected');
    const at = performance.now();
    client.disconnect();
    const left = await olga.seesLeave(room, 'disconnected', PRESENCE_DELAY);
    assert.ok(left - at < PRESENCE_DELAY);
  });

  await step('`leave` acts at once', async () => {
    const client = await enter('left');
    await client.ok('leave', { room });
    await olga.seesLeave(room, 'left', PRESENCE_DELAY);
  });

  await step('a lost transport is a leave only after the grace', async () => {
    const lost = await enter('lost');
    const at = performance.now();
    lost.cut();
    const left = (await olga.seesLeave(room, 'lost', GRACE + 5_000)) - at;
    assert.ok(left >= GRACE - 100, `left after ${Math.round(left)} ms, the grace is ${GRACE} ms`);
    assert.ok(left <= GRACE + PRESENCE_DELAY, `left after ${Math.round(left)} ms`);
  });

  await step('a user who reconnects within the grace never left, also through another gateway', async () => {
    const here = await enter('returns-here');
    const there = await enter('returns-there');
    here.cut();
    there.cut();
    await eventually(() => !here.socket.connected && !there.socket.connected);
    await enter('returns-here', b);
    await enter('returns-there', a);
    await quiet(GRACE + PRESENCE_DELAY);
    for (const user of ['returns-here', 'returns-there']) {
      assert.deepEqual(olga.room(room).told('left', user), [], user);
      assert.equal(olga.room(room).told('joined', user).length, 1, `${user} joined once`);
    }
  });

  await step('a name in grace is reserved, whoever made the secret', async () => {
    const chose = await connect(b, { name: 'chose', resume: 'the secret of chose', reconnection: false });
    const given = await connect(b, { name: 'given', reconnection: false });
    for (const client of [chose, given]) {
      await client.join(room);
      client.cut();
    }
    for (const name of ['given', 'chose']) {
      assert.equal((await refusedConnect(a, { name })).message, 'username_taken', name);
    }
    const back = await connect(a, { name: 'given', resume: given.welcome.resume, reconnection: false });
    assert.equal(back.welcome.user, 'given');
  });
});
