// The official clients of three generations, over each of their transports, in one busy room: they cannot distinguish
// the frames that the gateway writes itself from those of socketioxide.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import io2 from 'socket.io-client-2';
import { io as io3 } from 'socket.io-client-3';
import { io as io4 } from 'socket.io-client';

import { RawSocket, cluster, connect, eventually, step, story, unique, upgradeUrl } from './harness.mjs';
import { detour } from './detour.mjs';
import { scope } from './scope.mjs';

const EVENTS = ['welcome', 'message', 'presence', 'online_users', 'typing', 'resync', 'restarting'];
const TRANSPORTS = { websocket: ['websocket'], polling: ['polling'], upgrading: undefined };
const UNICODE = 'Жозефина 李 🦀👩‍👩‍👧 "q" \\ \u2028\u0001 é';

const inAuth = (io) => (target, { auth, ...options }) => io(`${target.url}/native`, { auth, ...options });
/** What each generation needs: 2.x has no auth, and sends username and secret in the query of its handshake. */
const GENERATIONS = {
  '4.8.4': inAuth(io4),
  '3.1.1': inAuth(io3),
  '2.2.0': (target, { auth, ...options }) => io2(target.url, { query: auth, ...options }),
};
const KINDS = Object.keys(GENERATIONS).flatMap((version) =>
  Object.keys(TRANSPORTS).map((transport) => ({ version, transport })),
);

/** An official client of any generation that records the arguments of every event, as its listeners got them. */
class Old {
  received = [];
  offsets = [];

  constructor(target, { version, transport }, { name = unique('old'), room, resume = 'a secret of mine' }) {
    Object.assign(this, { name, room, node: target.label, label: `${version} over ${transport}` });
    const transports = TRANSPORTS[transport];
    this.upgrades = transport === 'upgrading';
    this.socket = GENERATIONS[version](target, {
      auth: { username: name, resume },
      forceNew: true,
      reconnection: false,
      ...(transports && { transports }),
    });
    for (const event of EVENTS) this.socket.on(event, (...args) => this.#hear(event, args));
    for (const event of ['connect_error', 'error']) this.socket.on(event, (why) => (this.trouble ??= why));
    this.socket.on('disconnect', (why) => (this.gone = why));
    // At once after the connect: events in both directions must not be lost.
    this.socket.on('connect', () => room && this.#join(room));
    scope().defer(() => this.socket.disconnect());
  }

  #join(room) {
    this.socket.emit('join', { room }, (...args) => {
      this.joined = args;
      this.received.length = 0;
    });
  }

  #hear(event, args) {
    this.received.push([event, ...args]);
    if (event === 'welcome') this.welcomed = args;
    if (event === 'message') this.offsets.push(args[0].offset);
  }

  /** The arguments of the acknowledgement's callback. */
  ask(event, payload) {
    return new Promise((resolve) => this.socket.emit(event, payload, (...args) => resolve(args)));
  }

  get transport() {
    return this.socket.io.engine?.transport?.name;
  }

  until(what, condition, timeout = 20_000) {
    const state = () => `${this.trouble ?? ''} ${this.gone ?? ''} ${this.transport}, received ${this.received.length}`;
    const check = () => {
      assert.ok(!this.gone, `${this.label} is disconnected: ${this.gone}`);
      return condition();
    };
    return eventually(check, { timeout, what: () => `${this.label} ${what}; ${state()}` });
  }

  of(event) {
    return this.received.filter(([received]) => received === event);
  }
}

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

story('three generations and three transports, across the upgrade while messages flow', { timeout: 90_000 }, async () => {
  const { gateways } = await cluster({ gateways: 2, presence: 1 });
  const room = unique('old');
  const speaker = await connect(gateways[0], { name: 'speaker' });
  await speaker.join(room);

  let talking = true;
  const sends = [];
  const talk = (async () => {
    for (let n = 0; talking; n++) {
      sends.push(speaker.send(room, `${n} ${UNICODE}`));
      await sleep(3);
    }
  })();
  await speaker.has(room, 20);

  // More clients that upgrade, because the upgrade itself is short.
  const kinds = KINDS.flatMap((kind) => (kind.transport === 'upgrading' ? Array(6).fill(kind) : [kind]));
  const detours = await Promise.all(gateways.map((gateway) => detour(gateway, { delay: 10 })));
  const target = (n, { transport }) => (transport === 'upgrading' ? detours : gateways)[n];
  const olds = [0, 1].flatMap((n) => kinds.map((kind) => new Old(target(n, kind), kind, { room })));
  const before = await Promise.allSettled(olds.map(async (old) => {
    await old.until('has joined', () => old.joined);
    assert.equal(old.joined[0].status, 'ok', JSON.stringify(old.joined));
    await old.until('receives messages', () => old.offsets.length >= 20);
  }));
  // All clients that upgrade have received something by polling: now their WebSockets are let through.
  detours.forEach((detour) => detour.release());
  const after = await Promise.allSettled(olds.map(async (old) => {
    if (old.upgrades) await old.until('has upgraded', () => old.transport === 'websocket');
    const enough = old.offsets.length + 100;
    await old.until('receives messages', () => old.offsets.length >= enough);
    const asked = range(0, 5).map((n) => old.ask('send_message', { room, text: `${old.name} ${n} ${UNICODE}` }));
    old.acks = await Promise.all(asked);
  }));
  talking = false;
  await talk;
  const { offset: last } = await speaker.send(room, 'the last');
  const acks = await Promise.all(sends);
  await speaker.has(room, last);

  await step('each was connected and acknowledged', () => {
    const failed = [...before, ...after].filter(({ reason }) => reason).map(({ reason }) => reason.message);
    assert.deepEqual(failed, []);
    acks.forEach((ack, n) => assert.ok(n === 0 || ack.offset > acks[n - 1].offset, 'the speaker\'s own order'));
  });
  const expected = new Map(speaker.room(room).messages.map(({ at, ...message }) => [message.offset, message]));
  assert.equal(expected.size, last);
  // They chose their secrets, so `welcome` carries none.
  const { resume, ...common } = speaker.welcome;
  for (const old of olds) {
    await step(`${old.label} on ${old.node} has everything since its join, once and in order`, async () => {
      await old.until('has the last message', () => old.offsets.at(-1) >= last);
      assert.deepEqual(old.offsets, range(old.joined[0].offset + 1, last + 1));
      for (const [, ...args] of old.of('message')) assert.deepStrictEqual(args, [expected.get(args[0].offset)]);
      for (const ack of old.acks) {
        assert.equal(ack.length, 1);
        const { id, epoch, offset, ts } = expected.get(ack[0].offset);
        assert.deepStrictEqual(ack[0], { status: 'ok', id, room, epoch, offset, ts });
      }
      assert.deepStrictEqual(old.welcomed, [{ ...common, user: old.name, node: old.node }]);
    });
  }
});

story('a WebSocket receives the same events as long-polling', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, presence: 1 });
  const room = unique('equal');
  const olds = KINDS.map((kind) => new Old(gateway, kind, { room }));
  for (const old of olds) {
    await old.until('has joined', () => old.joined);
    if (old.upgrades) await old.until('has upgraded', () => old.transport === 'websocket');
  }
  const ann = await connect(gateway, { name: 'ann' });
  await ann.join(room);
  // All clients know all users: from here on, all receive the same events.
  for (const old of olds) {
    await old.until('knows of ann', () => old.of('presence').some(([, { joined }]) => joined.includes('ann')));
  }
  const begin = await ann.send(room, 'from here on');
  for (const old of olds) await old.until('begins', () => old.offsets.at(-1) === begin.offset);
  olds.forEach((old) => (old.received.length = 0));

  await ann.send(room, UNICODE, 'an id of mine');
  await ann.send(room, 'x'.repeat(200));
  await ann.send(room, '🦀'.repeat(4_000));
  const bob = await connect(gateway, { name: 'Жозефина 🦀' });
  await bob.join(room);
  await bob.send(room, '[{"status":"ok"}]');
  for (const old of olds) await old.until('knows of bob', () => old.of('presence').some(([, { count }]) => count === olds.length + 2));
  await bob.ok('leave', { room });
  const { offset } = await ann.send(room, 'to here');
  const left = ({ left }) => left.includes(bob.name);
  for (const old of olds) {
    await old.until('has received everything', () => old.offsets.at(-1) === offset && old.of('presence').some(([, news]) => left(news)));
  }
  // Volatile: sent again until everyone has received it.
  const sawTyping = (old) => old.of('typing').length > 0;
  await eventually(async () => (await ann.ok('typing', { room, typing: true }), olds.every(sawTyping)), { every: 50 });

  const [reference] = olds.filter(({ label }) => label === '4.8.4 over polling');
  const events = (old) => old.received.filter(([event]) => event !== 'typing');
  assert.equal(reference.of('message').length, 5);
  for (const old of olds) {
    await step(old.label, async () => {
      assert.deepStrictEqual(events(old), events(reference), 'messages and presence, in one order');
      for (const typing of old.of('typing')) assert.deepStrictEqual(typing, reference.of('typing')[0]);
      assert.deepStrictEqual(reference.of('typing')[0], ['typing', { room, user: 'ann', typing: true }]);
      const asked = [
        ['history', { room, limit: 5 }], ['rooms', {}], ['online_users', { room }], ['leave', { room: 'elsewhere' }],
        ['no such event', {}], ['send_message', { room }],
      ];
      for (const [event, payload] of asked) {
        const [one, other] = [await old.ask(event, payload), await reference.ask(event, payload)];
        assert.deepStrictEqual(one, other, event);
        assert.equal(one.length, 1, event);
      }
    });
  }
});

story('a 2.x client has a name and a secret like any other', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '2s'] });
  const room = unique('some');

  for (const transport of Object.keys(TRANSPORTS)) {
    const kind = { version: '2.2.0', transport };
    await step(`its secret holds its name, over ${transport}`, async () => {
      const name = unique('Ни&к=о 李');
      const first = new Old(a, kind, { name, room, resume: 'mine, & only=mine' });
      await first.until('has joined', () => first.joined);
      const tab = new Old(b, kind, { name, room, resume: 'mine, & only=mine' });
      await tab.until('has joined', () => tab.joined);
      assert.equal(tab.welcomed[0].user, name);
      assert.ok(tab.joined[0].online.users.includes(name));
      const other = new Old(b, kind, { name, room, resume: 'not it' });
      await eventually(() => other.trouble, { what: 'another user is refused' });
      assert.match(JSON.stringify(other.trouble), /username_taken/);
      assert.ok(!other.welcomed && !other.joined);
    });
  }

  await step('fifty clients that join at once after the connect are all answered', async () => {
    const clients = range(0, 50).map((n) => new Old([a, b][n % 2], { version: '2.2.0', transport: 'websocket' }, { room }));
    for (const old of clients) await old.until('has joined', () => old.joined);
  });

  await step('events that a 2.x client sends before its connect is answered are handled', async () => {
    const url = (n) => `${upgradeUrl([a, b][n % 2]).replace('EIO=4', 'EIO=3')}&username=early-${n}&resume=mine`;
    const early = range(0, 50).map((n) => new RawSocket(url(n)));
    for (const raw of early) raw.ws.on('open', () => raw.send(`427${JSON.stringify(['join', { room, limit: 0 }])}`));
    for (const raw of early) assert.match(await raw.frame(/^437\[/), /"status":"ok"/);
  });
});
