// Private messages: to all devices of both users, across gateways, in order and once, also after a reconnect, a lost
// subscription and a lost Redis; never to whoever has the name next.
import assert from 'node:assert/strict';

import { Front, cluster, connect, eventually, refusedConnect, step, story, unique } from './harness.mjs';

/** The private messages that a client received: `FROM to TO: TEXT`. */
const received = (client) =>
  client.events.filter(({ event }) => event === 'private_message').map(({ payload }) => payload);
const shown = (client) => received(client).map(({ user, to, text }) => `${user} to ${to}: ${text}`);
const has = (client, line) =>
  eventually(() => shown(client).includes(line), { what: () => `${client.name} has "${line}"; ${shown(client)}` });
const inboxOf = (client) => client.events.find(({ event }) => event === 'inbox')?.payload;
const tell = (client, to, text, id) => client.ok('private_message', { to, text, ...(id && { id }) });

/** Each message once and in the order of the inbox. */
function assertInOrder(client) {
  const messages = received(client);
  messages.slice(1).forEach(({ epoch, offset }, i) => {
    assert.equal(epoch, messages[i].epoch);
    assert.equal(offset, messages[i].offset + 1, `${client.name}: ${shown(client)}`);
  });
}

/** One user, told by name and secret. */
const as = (name, options = {}) => ({ name, resume: `the secret of ${name}`, ...options });
const returning = (name, since) => ({ name, auth: { username: name, resume: `the secret of ${name}`, since } });

story('private messages of native clients on two gateways', { timeout: 90_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '1s'] });
  const ann = await connect(a, as('ann'));
  const tab = await connect(b, as('ann'));
  const eve = await connect(b, as('eve'));
  let bob = await connect(b, as('bob'));
  let last;

  await step('all devices of both, and nobody else', async () => {
    const ack = await tell(ann, 'bob', 'psst', 'm1');
    assert.equal(ack.id, 'm1');
    assert.equal(ack.delivered, true);
    await tell(bob, 'ann', 'yes?', 'm1');
    for (const client of [ann, tab, bob]) {
      await has(client, 'bob to ann: yes?');
      assert.deepEqual(shown(client), ['ann to bob: psst', 'bob to ann: yes?']);
      assertInOrder(client);
    }
    const [own] = received(ann);
    assert.deepEqual([own.epoch, own.offset, own.ts], [ack.epoch, ack.offset, ack.ts], 'the position is that of the own copy');
    assert.equal(own.room, undefined);
    assert.equal(own.kind, 'text');
    assert.deepEqual(shown(eve), []);
  });

  await step('a repeated send is stored once; an id of a message to somebody else is taken', async () => {
    const first = await tell(ann, 'bob', 'once', 'm2');
    const again = await tell(tab, 'bob', 'once', 'm2');
    assert.deepEqual([again.offset, again.ts], [first.offset, first.ts]);
    await ann.refused('private_message', { to: 'eve', text: 'once', id: 'm2' }, 'id_taken');
    await tell(ann, 'bob', 'then');
    for (const client of [ann, tab, bob]) {
      await has(client, 'ann to bob: then');
      assert.equal(shown(client).filter((line) => line === 'ann to bob: once').length, 1);
    }
  });

  await step('many at once have one order on all devices', async () => {
    const texts = Array.from({ length: 50 }, (_, n) => `burst ${n}`);
    await Promise.all(texts.flatMap((text) => [tell(ann, 'bob', text), tell(bob, 'ann', text)]));
    for (const client of [ann, tab, bob]) {
      await eventually(() => shown(client).length === 104, { what: () => `${client.name}: ${shown(client).length}` });
      assertInOrder(client);
    }
    assert.deepEqual(received(ann).map(({ id }) => id), received(tab).map(({ id }) => id));
  });

  await step('what two users wrote each other is read from the own inbox, page by page', async () => {
    await tell(eve, 'ann', 'hello');
    await has(ann, 'eve to ann: hello');
    const { messages, more } = await ann.ok('history', { to: 'eve' });
    assert.deepEqual([messages.map(({ text }) => text), more], [['hello'], false]);
    const page = await bob.ok('history', { to: 'ann', limit: 100 });
    assert.deepEqual([page.messages.length, page.more], [100, true]);
    const older = await bob.ok('history', { to: 'ann', before: page.messages[0].offset });
    assert.deepEqual(older.messages.map(({ text }) => text), ['psst', 'yes?', 'once', 'then']);
    await bob.refused('history', {}, 'bad_request');
    await bob.refused('history', { room: 'general', to: 'ann' }, 'bad_request');
  });

  await step('a client that returns gets what it missed', async () => {
    last = received(bob).at(-1);
    bob.cut();
    bob.close();
    const { delivered } = await eventually(async () => {
      const ack = await tell(ann, 'bob', 'in grace', 'm3');
      return !ack.delivered && ack;
    });
    assert.equal(delivered, false);
    const since = { epoch: last.epoch, offset: last.offset };
    const fresh = await connect(a, returning('bob', since));
    await has(fresh, 'ann to bob: in grace');
    assert.deepEqual(inboxOf(fresh), { ...since, recovered: true });
    assert.deepEqual(fresh.events.slice(0, 3).map(({ event }) => event), ['welcome', 'inbox', 'private_message']);
    const lost = await connect(b, returning('bob', { epoch: 'other', offset: 1 }));
    await eventually(() => inboxOf(lost));
    assert.deepEqual(inboxOf(lost), { epoch: last.epoch, offset: last.offset + 1, recovered: false });
    assert.deepEqual(shown(lost), []);
    bob = fresh;
    lost.close();
  });

  await step('nobody of that name is online: an error, and nothing is stored', async () => {
    await ann.refused('private_message', { to: 'nobody', text: 'psst' }, 'user_offline');
    bob.close();
    await eventually(async () => {
      const ack = await ann.ask('private_message', { to: 'bob', text: 'too late' });
      return ack.code === 'user_offline';
    });
    const again = await tell(ann, 'bob', 'in grace', 'm3');
    assert.equal(again.delivered, false, 'what was stored before is acknowledged again');
  });

  await step('whoever has the name next reads nothing of it', async () => {
    const before = (await ann.ok('history', { to: 'bob', limit: 1 })).messages.length;
    assert.equal(before, 1);
    const thief = await connect(a, {
      name: 'bob',
      auth: { username: 'bob', resume: 'another secret', since: { epoch: last.epoch, offset: 1 } },
    });
    await eventually(() => inboxOf(thief));
    assert.equal(inboxOf(thief).recovered, false);
    assert.notEqual(inboxOf(thief).epoch, last.epoch);
    const guess = { username: 'bob', resume: 'another secret', since: { epoch: last.epoch, offset: 0 } };
    const second = await connect(a, { name: 'bob', auth: guess });
    await eventually(() => inboxOf(second));
    assert.notEqual(inboxOf(second).epoch, last.epoch, 'also where nothing is missing');
    second.close();
    assert.deepEqual((await thief.ok('history', { to: 'ann' })).messages, []);
    await tell(ann, 'bob', 'to the new bob');
    await has(thief, 'ann to bob: to the new bob');
    assert.deepEqual(shown(thief), ['ann to bob: to the new bob']);
    assert.equal((await refusedConnect(b, as('bob'))).message, 'username_taken');
    thief.close();
    const back = await eventually(async () => {
      try {
        return await connect(b, { ...as('bob'), reconnection: false });
      } catch {
        return undefined;
      }
    });
    const texts = (await back.ok('history', { to: 'ann' })).messages.map(({ text }) => text);
    assert.ok(texts.includes('in grace') && !texts.includes('to the new bob'), `the former owner has his own: ${texts}`);
  });
});

story('private messages survive a lost bus and a lost Redis', { timeout: 90_000 }, async () => {
  const { gateways: [a, b], redis } = await cluster({ gateways: 2, presence: 1 });
  const [ann, bob] = [await connect(a, as('ann', { rejoin: true })), await connect(b, as('bob'))];
  await tell(ann, 'bob', 'before');
  await has(bob, 'ann to bob: before');

  await step('messages during which the bus is cut arrive once and in order', async () => {
    const sent = [];
    for (let n = 0; n < 60; n++) {
      if (n % 20 === 10) await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      sent.push(`ann to bob: ${n}`);
      await tell(ann, 'bob', String(n), `n${n}`);
    }
    for (const client of [ann, bob]) {
      await has(client, sent.at(-1));
      assert.deepEqual(shown(client), ['ann to bob: before', ...sent], client.name);
      assertInOrder(client);
    }
  });

  await step('where Redis lost everything, clients are told', async () => {
    await redis.command('FLUSHALL');
    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    for (const client of [ann, bob]) {
      await eventually(() => inboxOf(client), { what: () => `${client.name} is told` });
      assert.equal(inboxOf(client).recovered, false);
    }
    await eventually(async () => (await ann.ask('private_message', { to: 'bob', text: 'after', id: 'after' })).status === 'ok', {
      timeout: 20_000,
    });
    await has(bob, 'ann to bob: after');
    assert.equal(received(bob).at(-1).offset, 1);
  });
});

story('private messages of private-rooms', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1 });
  const room = unique('den').toUpperCase();
  const front = (gateway, name) => new Front(gateway, 'private-rooms', { name }).join(room);
  const [ann, bob, cyd] = [await front(a, 'ANN'), await front(b, 'BOB'), await front(a, 'CYD')];
  const nat = await connect(b, as('nat'));
  await nat.join(room);
  await nat.sees(room, 'ANN', 'BOB', 'CYD');
  const privately = (from, user, text) => from.ask(['chat', { event: 'chat', user, room, text }]);

  await step('only that user receives it, in the shape of the original', async () => {
    const ack = await privately(ann, 'BOB', '<psst>');
    assert.equal(ack.status, 'ok', JSON.stringify(ack));
    await bob.sees('ANN', '<psst>');
    const [, { type, from, message }] = bob.received.findLast(([, payload]) => payload.message === '<psst>');
    assert.deepEqual({ type, from, message }, { type: 'chat', from: 'ANN', message: '<psst>' });
    await privately(bob, 'ann', 'typed in lower case');
    await ann.sees('BOB', 'typed in lower case');
    await ann.say('to everybody');
    await cyd.sees('ANN', 'to everybody');
    assert.deepEqual(cyd.shown, [['ANN', 'to everybody']]);
    assert.ok(!ann.shown.some(([sender]) => sender === 'ANN'), 'the page shows its own messages by itself');
  });

  await step('native users, both ways', async () => {
    await privately(ann, 'NAT', 'to nat');
    await has(nat, 'ANN to nat: to nat');
    assert.equal(received(nat)[0].verified, false);
    await tell(nat, 'ANN', 'to ann');
    await ann.sees('nat', 'to ann');
    await has(nat, 'nat to ANN: to ann');
  });

  await step('a name that is nobody, or could be two', async () => {
    assert.equal((await privately(ann, 'NOBODY', 'psst')).code, 'user_offline');
    await ann.hears('NOBODY is not online');
    const other = await connect(a, as('Nat'));
    await other.join(room);
    await eventually(async () => (await privately(ann, 'NAT', 'which?')).code === 'bad_username');
    await ann.hears('NAT may be Nat or nat: write the name exactly');
    await privately(ann, 'nat', 'you');
    await has(nat, 'ANN to nat: you');
    assert.ok(!shown(other).includes('ANN to Nat: you'));
  });

  await step('an open name is nobody once its connection is gone', async () => {
    cyd.socket.disconnect();
    await eventually(async () => (await privately(ann, 'CYD', 'are you there?')).code === 'user_offline');
    const next = await front(b, 'CYD');
    await privately(ann, 'CYD', 'welcome');
    await next.sees('ANN', 'welcome');
    assert.ok(!next.shown.some(([, text]) => text === 'are you there?'));
  });
});
