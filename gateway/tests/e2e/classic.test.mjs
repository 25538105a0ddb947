// The vocabularies of the five classic chats, on the client versions of their originals, beside native clients.
import assert from 'node:assert/strict';

import { Front, chats, cluster, connect, eventually, quiet, step, story, unique } from './harness.mjs';
import { scrape } from './metrics.mjs';

/** A room and names as each chat has them: one of them has upper case only. */
const upper = (chat, name) => (chat === 'private-rooms' ? name.toUpperCase() : name);

for (const chat of chats) {
  story(`${chat} on two gateways, beside a native client`, { timeout: 60_000 }, async () => {
    const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '1s'] });
    const room = chat === 'abidev' ? 'general' : upper(chat, unique('room'));
    const nat = await connect(a, { name: 'nat' });
    await nat.join(room);
    const ann = await new Front(a, chat, { name: upper(chat, 'ann') }).join(room);
    const bob = await new Front(b, chat, { name: upper(chat, 'bob') }).join(room);
    const echoes = chat !== 'private-rooms';

    await step('one conversation, whoever writes', async () => {
      if (chat === 'abidev') {
        // It hears the room without a name, and is in no list until it has one.
        const heard = (front) => front.shown.some(([, text]) => text === 'is anybody there?');
        await eventually(async () => (await nat.send(room, 'is anybody there?'), [ann, bob].every(heard)), { every: 100 });
        assert.deepEqual([...nat.room(room).online], ['nat']);
      }
      const sent = [];
      for (const [front, text] of [[ann, 'hello <b>all</b>'], [bob, 'hello ann'], [ann, 'Ни & к "о" \'李\' 🦀']]) {
        const ack = await front.say(text);
        assert.equal(ack.status, 'ok', JSON.stringify(ack));
        sent.push([front, text]);
      }
      await nat.send(room, 'hello from nat');
      const escaped = (text) =>
        chat === 'flask-chat-app'
          ? text.replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' })[c])
          : text;
      for (const front of [ann, bob]) {
        await front.sees('nat', 'hello from nat');
        const own = sent.filter(([sender]) => echoes || sender !== front);
        const shown = front.shown.filter(([, text]) => text !== 'is anybody there?');
        assert.deepEqual(shown, [...own.map(([sender, text]) => [sender.name, escaped(text)]), ['nat', 'hello from nat']]);
      }
      await nat.sees(room, ann.name, bob.name);
      const heard = nat.room(room).messages.filter(({ user }) => user !== 'nat');
      assert.deepEqual(heard.map(({ user, text }) => [user, text]), sent.map(([sender, text]) => [sender.name, text]));
      for (const message of heard) assert.equal(message.verified, chat === 'ribbit' ? undefined : false);
    });

    await step('every message has the time of the server and its number', async () => {
      const { id, offset, ts } = nat.room(room).messages.at(-1);
      const payload = bob.received.findLast(([, payload]) => payload.id === id)[1];
      assert.deepEqual([payload.offset, payload.ts], [offset, ts]);
    });

    await step('nobody speaks under the name of somebody else, whatever the payload says', async () => {
      const [event, payload] = ann.chat.say('bob', room, 'I am bob');
      const ack = await ann.ask([event, { ...payload, username: upper(chat, 'bob'), from: upper(chat, 'bob') }]);
      assert.equal(ack.status, 'ok', JSON.stringify(ack));
      await bob.sees(ann.name, 'I am bob');
      await nat.has(room, ack.offset);
      assert.equal(nat.room(room).messages.at(-1).user, ann.name);
    });

    if (chat !== 'ribbit') {
      await step('a taken name is told, and the connection stays open', async () => {
        const eve = new Front(b, chat, { name: ann.name });
        await assert.rejects(async () => {
          await eve.join(room);
          const ack = await eve.say('it is me');
          throw new Error(JSON.stringify(ack));
        }, /username_taken/);
        await eve.hears(`${ann.name} is online; choose another name`);
        eve.name = upper(chat, 'eve');
        await eve.join(room);
        assert.equal((await eve.say('then eve')).status, 'ok');
        await ann.sees(eve.name, 'then eve');
        await nat.sees(room, eve.name);
        eve.socket.disconnect();
        await nat.seesLeave(room, eve.name);
      });
    }

    if (ann.chat.joined) {
      await step('joins and leaves are announced once, on every gateway', async () => {
        const cyd = await new Front(b, chat, { name: upper(chat, 'cyd'), transports: ['websocket'] }).join(room);
        const [joined, left] = [ann.chat.joined(cyd.name, room), ann.chat.left(cyd.name, room)];
        for (const front of [ann, bob]) await front.hears(joined);
        await cyd.leave();
        for (const front of [ann, bob]) await front.hears(left);
        await cyd.join(room);
        for (const front of [ann, bob]) await front.until('is told again', () => front.count(joined) === 2);
        // A transport that drops is a leave after the grace, and a return within it is nothing.
        cyd.socket.io.reconnection(false);
        cyd.cut();
        for (const front of [ann, bob]) await front.until('is told of the leave', () => front.count(left) === 2);
        assert.equal(cyd.count(left), 0, 'who left is not told');
        for (const front of [ann, bob]) assert.equal(front.count(joined), 2);
      });

      await step('another room leaves the former one', async () => {
        const dan = await new Front(a, chat, { name: upper(chat, 'dan') }).join(room);
        await bob.hears(bob.chat.joined(dan.name, room));
        await dan.join(upper(chat, unique('other')));
        await bob.hears(bob.chat.left(dan.name, room));
        assert.equal((await ann.say('dan is gone')).status, 'ok');
        await bob.sees(ann.name, 'dan is gone');
        assert.ok(!dan.shown.some(([, text]) => text === 'dan is gone'));
      });
    }

    await step('bad input gets an error of the vocabulary and leaves the connection open', async () => {
      const [event] = ann.chat.say('', '', '');
      for (const payload of ['a string', 7, null, [], {}, { room: {} }, { event: 'join', user: 5, room: [] }]) {
        const before = ann.told.length;
        await ann.ask([event, payload]);
        await ann.until(`is told that ${JSON.stringify(payload)} is bad`, () => ann.told.length > before);
      }
      const before = ann.told.length;
      ann.emit(['no such event', {}]);
      await ann.until('is told that there is no such event', () => ann.told.length > before);
      assert.equal((await ann.say('still here')).status, 'ok');
      await bob.sees(ann.name, 'still here');
      assert.ok(!ann.gone);
    });
  });
}

story('what only one of the chats has', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '2s'] });

  await step('flocker: a newcomer gets the last messages and the list; # is no part of a name', async () => {
    const ann = await new Front(a, 'flocker', { name: 'ann' }).join('#help');
    await ann.say('one');
    await ann.say('two');
    const bob = await new Front(b, 'flocker', { name: 'bob' }).join('help');
    await bob.sees('ann', 'two');
    assert.deepEqual(bob.shown, [['ann', 'one'], ['ann', 'two']]);
    await ann.until('has the list', () =>
      ann.received.some(([event, list]) => event === 'online_users' && list.users.join() === 'ann,bob' && list.count === 2));
  });

  await step('flocker: after a reconnect the next message joins again, silently', async () => {
    const room = unique('room');
    const ann = await new Front(a, 'flocker', { name: 'ann2', transports: ['websocket'] }).join(room);
    const bob = await new Front(b, 'flocker', { name: 'bob2' }).join(room);
    await ann.hears(`bob2 joined ${room}.`);
    ann.cut();
    await ann.until('is connected again', () => ann.gone && ann.socket.connected);
    assert.equal((await ann.say('I am back')).status, 'ok');
    await bob.sees('ann2', 'I am back');
    await quiet(2_500);
    assert.deepEqual([bob.count(`ann2 left ${room}.`), bob.count(`ann2 joined ${room}.`)], [0, 0]);
  });

  await step('private-rooms: a reconnected page is told to join again', async () => {
    const ann = await new Front(a, 'private-rooms', { name: 'ann', transports: ['websocket'] }).join('den');
    ann.cut();
    await ann.until('is connected again', () => ann.gone && ann.socket.connected);
    await ann.ask(['chat', { event: 'chat', text: 'hi' }]);
    await ann.until('is told', () => ann.told.some((line) => line.startsWith('Join again: ')));
  });

  await step('private-rooms: a message without a room goes to everyone, in every vocabulary', async () => {
    const [ann, listener] = [await new Front(a, 'private-rooms', { name: 'anna' }).join('attic'), await connect(b, { name: 'listener' })];
    const fronts = [];
    for (const chat of chats) {
      const front = new Front(b, chat, { name: upper(chat, unique('all')) });
      fronts.push(chat === 'abidev' ? front : await front.join(upper(chat, unique('room'))));
    }
    await fronts[1].say('I am here, too');
    await ann.leave();
    const text = unique('to all');
    const ack = await ann.ask(['chat', { event: 'chat', text }]);
    assert.deepEqual([ack.status, ack.room], ['ok', '@all']);
    for (const front of fronts) await front.sees('ANNA', text);
    await eventually(() => listener.room('@all').texts.includes(text), { what: 'a native client is told' });
    const again = await ann.ask(['chat', { event: 'chat', text: 'and again' }]);
    assert.equal(again.code, 'rate_limited');
    assert.ok(again.retry_after_ms > 0 && again.retry_after_ms < 10_000, 'the time that is left');
    await ann.until('is told to wait', () => ann.told.some((line) => line.startsWith('one message to everyone in 10 seconds')));
    assert.ok(!ann.shown.some(([, shown]) => shown === text), 'its page shows its own messages');
    await listener.refused('broadcast', { text: 'me, too' }, 'forbidden');
    for (const event of ['join', 'leave', 'history', 'online_users']) await listener.refused(event, { room: '@all' }, 'bad_room');
  });

  await step('private-rooms: the list goes to the requester only; strings are parsed as JSON', async () => {
    const ann = await new Front(a, 'private-rooms', { name: 'eva' }).join('lair');
    const bob = await new Front(b, 'private-rooms', { name: 'bo' }).join('lair');
    await ann.hears('New User BO joined room LAIR');
    bob.emit(['chat', JSON.stringify({ event: 'users', room: 'lair' })]);
    await bob.hears("Users in room: ['BO', 'EVA']");
    bob.emit(['chat', '{broken']);
    await bob.until('gets the error', () => bob.received.some(([event]) => event === 'message'));
    const [, error] = bob.received.find(([event]) => event === 'message');
    assert.deepEqual(JSON.parse(error), { code: 99, message: 'JSON Parse failed' });
    assert.ok(!ann.told.some((line) => line.startsWith('Users in room')));
  });

  await step('ribbit: the same object as chat and as new_message; many threads at once', async () => {
    const ann = await new Front(a, 'ribbit', { name: 'rita' }).join(7);
    const bob = await new Front(b, 'ribbit', { name: 'rob' }).join('7');
    await bob.join(8);
    bob.room = 7;
    await ann.say('hi');
    await bob.sees('rita', 'hi');
    await eventually(() => bob.received.length === 2, { what: () => JSON.stringify(bob.received) });
    assert.deepEqual(bob.received.map(([event]) => event), ['chat', 'new_message']);
    assert.deepEqual(bob.received[0][1], bob.received[1][1]);
    await ann.ask(['chat', { threadId: 7, body: 'look', image: 'frog.png', user_id: 4 }]);
    await bob.sees('rita', 'look');
    const { image, body, user_id: spoofed } = bob.received.at(-1)[1];
    assert.deepEqual([image, body, spoofed], ['frog.png', 'look', undefined], 'other fields are passed on');
    assert.equal(bob.received[0][1].threadId, 7);
    const nobody = new Front(a, 'ribbit', { auth: {} });
    const ack = await nobody.ask(['chat', { threadId: 7, message: 'let me in' }]);
    assert.equal(ack.status, 'error');
    await nobody.until('is told', () => nobody.told.some((line) => line.startsWith('sign in first')));
  });

  await step('ribbit: a new message reaches the connections outside the thread, on every gateway', async () => {
    const auth = { username: 'rosa', resume: 'hers' };
    const tab = (gateway) => new Front(gateway, 'ribbit', { name: 'rosa', auth });
    const [outside, inside] = [tab(b), await tab(a).join(21)];
    const rob = await new Front(a, 'ribbit', { name: 'rob2' }).join(21);
    const numbers = (front, event) =>
      front.received.filter(([name, { username }]) => name === event && username === 'rob2').map(([, { message }]) => message);
    // Until the other gateway knows: a join is answered before.
    await eventually(async () => (await rob.say('wake up'), numbers(outside, 'new_message').length > 0), { every: 100 });
    await inside.sees('rob2', 'wake up');
    // A connection that comes later is told, too.
    const later = tab(b);
    await eventually(async () => (await rob.say('anybody?'), numbers(later, 'new_message').length > 0), { every: 100 });
    await rob.say('last');
    for (const front of [outside, later]) await front.until('is told', () => numbers(front, 'new_message').includes('last'));
    for (const front of [outside, later]) assert.deepEqual(numbers(front, 'chat'), [], 'they are not in the thread');
    assert.equal((await later.ask(['leave', { threadId: 21 }])).code, 'not_joined');
    // Another tab in the thread, which one of the two leaves.
    await later.join(21);
    await inside.leave();
    const told = () => numbers(inside, 'new_message').includes('still here?');
    await eventually(async () => (await rob.say('still here?'), told()), { every: 100, what: 'it is told of what it does not read' });
    await later.sees('rob2', 'still here?');
    assert.ok(!numbers(inside, 'chat').includes('still here?'));
    // Nobody of her is in it any more.
    await later.leave();
    await eventually(async () => {
      const before = numbers(outside, 'new_message').length;
      await rob.say('gone?');
      const ack = await rob.say('really?');
      await rob.until('has its own', () => rob.received.some(([, { offset }]) => offset === ack.offset));
      return numbers(outside, 'new_message').length === before;
    }, { every: 200 });
  });

  await step('ribbit: the history of a thread over HTTP, for those who are in it', async () => {
    const rita = await new Front(a, 'ribbit', { name: 'rita3' }).join(31);
    for (const text of ['one', 'two', 'three']) await rita.ask(['chat', { threadId: 31, message: text, mood: 'fine' }]);
    const read = async (gateway, query = '', who = 'rita3', resume = `the secret of ${who}`, thread = 31) => {
      const authorization = `Basic ${Buffer.from(`${who}:${resume}`).toString('base64')}`;
      const answer = await fetch(`${gateway.url}/classic/ribbit/threads/${thread}/messages${query}`, { headers: { authorization } });
      return [answer.status, await answer.json()];
    };
    await eventually(async () => (await read(b))[0] === 200, { what: 'the other gateway knows of the join' });
    const [, all] = await read(b);
    assert.deepEqual([all.more, all.messages.map(({ message, threadId, username, mood }) => [message, threadId, username, mood])],
      [false, ['one', 'two', 'three'].map((text) => [text, 31, 'rita3', 'fine'])]);
    const [, page] = await read(b, `?before=${all.messages[2].offset}&limit=1`);
    assert.deepEqual([page.more, page.messages.map(({ message }) => message)], [true, ['two']]);
    for (const [answer, status, code] of [
      [await read(b, '', 'rita3', 'a guess'), 401, 'bad_username'],
      [await read(b, '', 'nobody'), 401, 'bad_username'],
      [await read(b, '', 'rita3', undefined, 32), 403, 'not_joined'],
      [await read(b, '?limit=0'), 400, 'bad_request'],
      [await read(b, '?before=x'), 400, 'bad_request'],
      [await read(b, '?limit=-1'), 400, 'bad_request'],
      [await read(b, '', 'rita3', undefined, '%ff'), 400, 'bad_room'],
      [await read(b, '', 'rita3', undefined, '%20'), 400, 'bad_room'],
    ]) {
      assert.deepEqual([answer[0], answer[1].code, typeof answer[1].message], [status, code, 'string']);
      assert.doesNotMatch(answer[1].message, /deserialize|invalid/, 'a sentence for people');
    }
    const bare = await fetch(`${a.url}/classic/ribbit/threads/31/messages`);
    assert.equal(bare.status, 401);
  });

  await step('a proved name is the same user in two tabs and cannot be changed', async () => {
    const auth = { username: 'pia', resume: 'hers' };
    const [one, two] = [new Front(a, 'flask-chat-app', { name: 'pia', auth }), new Front(b, 'flask-chat-app', { name: 'pia', auth })];
    const room = unique('room');
    const watcher = await new Front(b, 'flask-chat-app', { name: 'watcher' }).join(room);
    await one.join(room);
    await two.join(room);
    await watcher.hears('pia join_room_announcement');
    one.socket.disconnect();
    await two.say('still here');
    await watcher.sees('pia', 'still here');
    assert.equal(watcher.count('pia leave_room_announcement'), 0, 'one of two tabs');
    two.name = 'eve';
    await assert.rejects(two.join(room), /signed in as pia/);
  });
});

story('all five and a native client in one room on three gateways', { timeout: 90_000 }, async () => {
  const { gateways } = await cluster({ gateways: 3, presence: 1 });
  const [room, EACH] = ['general', 100];
  const nat = await connect(gateways[0], { name: 'nat' });
  await nat.join(room);
  const fronts = [];
  for (const [n, chat] of chats.entries()) {
    fronts.push(await new Front(gateways[n % 3], chat, { name: upper(chat, `u${n}`) }).join(room));
  }
  // With a message the last one takes its name.
  for (const front of fronts) assert.equal((await front.say('ready')).status, 'ok', front.label);
  const begin = fronts.length;
  await nat.has(room, begin);

  const range = Array.from({ length: EACH }, (_, n) => n);
  const all = await Promise.all([
    ...fronts.flatMap((front) => range.map((n) => front.say(`${front.name} ${n}`))),
    ...range.map((n) => nat.send(room, `nat ${n}`)),
  ]);
  for (const ack of all) assert.equal(ack.status, 'ok', JSON.stringify(ack));
  const last = begin + 6 * EACH;
  assert.equal(Math.max(...all.map(({ offset }) => offset)), last);
  await nat.has(room, last);
  const expected = nat.room(room).messages.slice(begin).map(({ offset, user, text }) => [offset, user, text]);
  assert.equal(expected.length, 6 * EACH);
  for (const front of fronts) {
    await step(`${front.label} has the same messages in the same order`, async () => {
      const own = front.name === 'U4' && ((user) => user === 'U4');
      const due = expected.filter(([, user]) => !own || !own(user));
      const have = () => front.received.filter((received) => front.chat.shown(received) && received[1].offset > begin);
      await front.until('has the last message', () => have().length >= due.length);
      assert.deepEqual(have().map((received) => [received[1].offset, ...front.chat.shown(received)]), due);
    });
  }

  await step('a gateway encodes a message once for each vocabulary among its members', async () => {
    const vocabularies = ['native', ...chats];
    const present = [['native', 'flocker', 'ribbit'], ['abidev', 'private-rooms'], ['flask-chat-app']];
    for (const [n, gateway] of gateways.entries()) {
      const { of } = await scrape(gateway);
      for (const dialect of vocabularies) {
        const encoded = of(`roomcast_messages_encoded_total{dialect="${dialect}"}`);
        // Some of the first messages came before the member; that ribbit's user is in a thread is a message to its user.
        const most = last + (dialect === 'ribbit' ? 1 : 0);
        const expected = present[n].includes(dialect) ? [last - begin, most] : [0, 0];
        assert.ok(encoded >= expected[0] && encoded <= expected[1], `${dialect} on gateway ${n}: ${encoded}, not ${expected}`);
      }
    }
  });
});
