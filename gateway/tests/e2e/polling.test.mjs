// Long-polling without sticky sessions: three gateways behind a load balancer that spreads the requests
// of each client over all of them. Official clients with their default transports, and with polling
// only, chat, upgrade, and recover from the loss of a gateway; the peer listener serves gateways only.
import assert from 'node:assert/strict';
import http from 'node:http';
import { createConnection } from 'node:net';
import io2 from 'socket.io-client-2';
import { io as io4 } from 'socket.io-client';

import {
  PythonClient, RawSocket, balancer, cluster, connect, eachBounded, eventually, pollingUrl, request, sidOf, step, story,
  unique, upgradeUrl,
} from './harness.mjs';
import { scope } from './scope.mjs';

const GENERATIONS = {
  '4.8.4': (url, { auth, ...options }) => io4(`${url}/native`, { auth, ...options }),
  '2.2.0': (url, { auth, ...options }) => io2(url, { query: auth, ...options }),
};
const KINDS = Object.keys(GENERATIONS).flatMap((version) =>
  ['default', 'polling'].map((transports) => ({ version, transports })),
);
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** An official client that joins one room on every connect, from its position, and checks what it receives. */
class Guest {
  offsets = [];
  texts = new Map();
  wrong = [];
  connects = 0;
  joins = 0;

  constructor(target, { version, transports }, room, options = {}) {
    Object.assign(this, { room, label: `${version}, ${transports}`, name: unique('guest') });
    this.socket = GENERATIONS[version](target.url, {
      auth: { username: this.name, resume: `the secret of ${this.name}` },
      forceNew: true,
      ...(transports === 'polling' && { transports: ['polling'] }),
      ...options,
    });
    this.upgrades = transports === 'default';
    this.socket.on('connect', () => (this.connects++, this.#join()));
    this.socket.on('message', (message) => this.#message(message));
    this.socket.on('resync', () => this.wrong.push('resync'));
    scope().defer(() => this.socket.disconnect());
  }

  #join() {
    const since = this.position;
    const connection = this.connects;
    this.socket.emit('join', { room: this.room, ...(since ? { since } : { limit: 0 }) }, (ack) => {
      if (connection !== this.connects) return;
      if (ack.status !== 'ok') return this.wrong.push(JSON.stringify(ack));
      if (since && !ack.recovered) this.wrong.push(`not recovered since ${since.offset}`);
      this.position ??= { epoch: ack.epoch, offset: ack.offset };
      if (since) ack.messages.forEach((message) => this.#message(message));
      this.joins++;
    });
  }

  #message({ epoch, offset, text }) {
    if (offset !== this.position?.offset + 1) this.wrong.push(`${offset} follows ${this.position?.offset}`);
    this.position = { epoch, offset };
    this.offsets.push(offset);
    this.texts.set(text, (this.texts.get(text) ?? 0) + 1);
  }

  get transport() {
    return this.socket.io.engine?.transport?.name;
  }

  /** Sends, and repeats with the same id if the acknowledgement was lost with its connection. */
  async send(text) {
    const id = unique('message');
    const attempt = () => new Promise((resolve) => {
      const timer = setTimeout(resolve, 5_000);
      this.socket.emit('send_message', { room: this.room, text, id }, (ack) => (clearTimeout(timer), resolve(ack)));
    });
    return eventually(async () => {
      const ack = await attempt();
      return ack?.status === 'ok' && ack;
    }, { timeout: 25_000, what: `${this.name} (${this.label}) sent ${text}` });
  }

  until(what, condition, timeout = 20_000) {
    return eventually(condition, { timeout, what: () => `${this.name} (${this.label}) ${what}; ${this.transport}, at ${this.position?.offset}, ${this.wrong}` });
  }
}

/** The sum of `roomcast_forwarded_total` of some gateways, as `{ 'poll ok': 12 }`. */
async function forwarded(gateways) {
  const sums = {};
  for (const gateway of gateways) {
    const { body } = await request(`${gateway.adminUrl}/metrics`);
    for (const [, kind, outcome, value] of body.matchAll(/^roomcast_forwarded_total\{kind="(\w+)",outcome="(\w+)"\} (\d+)$/gm)) {
      if (Number(value) > 0) sums[`${kind} ${outcome}`] = (sums[`${kind} ${outcome}`] ?? 0) + Number(value);
    }
  }
  return sums;
}

story('official clients behind a round-robin load balancer without sticky sessions', { timeout: 90_000 }, async () => {
  const { gateways } = await cluster({ gateways: 3, presence: 1 });
  const [a, b, c] = gateways;
  const target = await balancer(gateways);
  const room = unique('room');
  const watcher = await connect(a, { name: 'watcher' });
  await watcher.join(room);
  const guests = KINDS.flatMap((kind) => range(0, 4).map(() => new Guest(target, kind, room)));

  /** Every client sends messages, and every client receives all of them, once and in order. */
  const chat = async (words) => {
    const messages = guests.flatMap((guest) => range(0, 3).map((n) => [guest, `${words} ${guest.name} ${n}`]));
    await eachBounded(messages, 16, ([guest, text]) => guest.send(text));
    const { offset } = await watcher.send(room, `the end of ${words}`);
    await watcher.has(room, offset);
    for (const guest of guests) await guest.until(`has ${offset}`, () => guest.position?.offset >= offset, 25_000);
    for (const guest of guests) {
      assert.deepEqual(guest.wrong, [], `${guest.name} (${guest.label})`);
      assert.deepEqual(messages.filter(([, text]) => guest.texts.get(text) !== 1), [], 'each once');
    }
  };

  await step('they join, chat and upgrade', async () => {
    for (const guest of guests) await guest.until('has joined', () => guest.joins > 0);
    for (const guest of guests.filter(({ upgrades }) => upgrades)) {
      await guest.until('has upgraded', () => guest.transport === 'websocket');
    }
    await chat('calm');
    assert.ok(guests.every(({ connects }) => connects === 1), 'no client had to reconnect');
    assert.ok(guests.every(({ upgrades, transport }) => upgrades === (transport === 'websocket')));
    const sums = await forwarded(gateways);
    assert.ok(sums['poll ok'] > 50 && sums['upgrade ok'] > 0, JSON.stringify(sums));
    console.log(`# forwarded: ${JSON.stringify(sums)}`);
  });

  await step('python-socketio, which polls first too', async () => {
    for (const transports of [undefined, ['polling']]) {
      const python = new PythonClient(unique('python'));
      await python.connect(target, transports && { transports });
      await python.ok('join', { room });
      for (const guest of guests) guest.texts.clear();
      const { offset } = await python.ok('send_message', { room, text: 'from Python' });
      await python.told('message', (message) => message.offset === offset);
      for (const guest of guests) await guest.until('receives it', () => guest.texts.get('from Python') === 1);
      await python.disconnect();
    }
  });

  await step('they recover when a gateway is killed during traffic', async () => {
    const talking = chat('storm');
    await eventually(() => watcher.room(room).texts.some((text) => text.startsWith('storm')));
    await b.kill9();
    await talking;
    for (const guest of guests.filter(({ upgrades }) => upgrades)) {
      await guest.until('is upgraded again', () => guest.transport === 'websocket');
    }
  });

  await step('they recover when a gateway is stopped as in a rolling restart', async () => {
    await b.restart();
    // Until the load balancer has noticed it.
    await eventually(async () => {
      const answers = await Promise.all(range(0, 6).map(() => request(pollingUrl(target))));
      return answers.some(({ body }) => answers.every(({ status }) => status === 200) && body);
    });
    const talking = chat('rollout');
    await eventually(() => watcher.room(room).texts.some((text) => text.startsWith('rollout')));
    await c.stop();
    await talking;
    await chat('after');
  });
});

story('five hundred clients with polling only', { timeout: 90_000 }, async () => {
  const { gateways } = await cluster({ gateways: 3, presence: 1 });
  const target = await balancer(gateways);
  const room = unique('crowd');
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 1_000 });
  scope().defer(() => agent.destroy());
  const begin = performance.now();
  const guests = await eachBounded(range(0, 500), 50, async (n) => {
    const guest = new Guest(target, { version: n % 5 ? '4.8.4' : '2.2.0', transports: 'polling' }, room, { agent, timeout: 60_000 });
    await guest.until('has joined', () => guest.joins > 0, 60_000);
    return guest;
  });
  const joined = performance.now();
  // From the position of the last join on, all clients must receive the same messages.
  const from = Math.max(...guests.map(({ position }) => position.offset));
  assert.equal(from, 0, 'no message was sent yet');
  // Every second client sends a message, at about the same time.
  const speakers = guests.filter((_, n) => n % 2);
  const acks = await eachBounded(speakers, 40, (guest) => guest.send(`of ${guest.name}`));
  const last = Math.max(...acks.map(({ offset }) => offset));
  assert.equal(last, speakers.length, 'each was stored once');
  for (const guest of guests) await guest.until('has everything', () => guest.position.offset === last, 60_000);
  const all = range(1, last + 1);
  for (const guest of guests) {
    assert.deepEqual(guest.wrong, [], guest.name);
    assert.deepEqual(guest.offsets, all, guest.name);
    assert.equal(guest.connects, 1, `${guest.name} had to come back`);
    assert.equal(guest.transport, 'polling');
  }
  const sums = await forwarded(gateways);
  assert.deepEqual(Object.keys(sums), ['poll ok'], JSON.stringify(sums));
  const seconds = (since, to = performance.now()) => ((to - since) / 1_000).toFixed(1);
  console.log(`# ${guests.length} joined in ${seconds(begin, joined)} s; ${last} messages to each in ${seconds(joined)} s; ${sums['poll ok']} polls forwarded`);
});

story('between gateways', { timeout: 60_000 }, async () => {
  const long = 'x'.repeat(40);
  const secrets = [long, long, 'y'.repeat(40), long];
  const { gateways: [a, b, odd, late], redis } = await cluster({ gateways: 4, presence: 1, secrets });
  const open = async (gateway) => sidOf((await request(pollingUrl(gateway))).body);
  /** The answer to a poll, and how long it took. */
  const poll = async (gateway, sid, options = {}) => {
    const since = performance.now();
    const { status, body } = await request(pollingUrl(gateway, `&sid=${sid}`), { method: 'POST', body: '3', ...options });
    return { status, body, took: performance.now() - since };
  };
  const isUnknown = ({ status, body }, what) => {
    assert.deepEqual([status, JSON.parse(body)], [400, { code: 1, message: 'Session ID unknown' }], `${what}: ${body}`);
  };

  await step('a session is answered at every gateway that is trusted', async () => {
    const sid = await open(a);
    for (const gateway of [a, b]) assert.deepEqual([(await poll(gateway, sid)).body, sid.length], ['ok', 41]);
    isUnknown(await poll(odd, sid), 'a wrong secret');
    isUnknown(await poll(a, await open(odd)), 'a wrong secret');
    const socket = new RawSocket(upgradeUrl(odd, `&sid=${sid}`));
    await socket.ended(3_000);
    assert.equal(socket.refused, 400);
    assert.deepEqual(await forwarded([odd]), { 'poll refused': 1, 'upgrade refused': 1 });
  });

  await step('invalid session ids are answered as unknown by every gateway, at once', async () => {
    const sid = await open(a);
    const [id, tag] = sid.split('.');
    const strange = ['', '.', '__proto__', `__proto__.${tag}`, `${id}.`, `.${tag}`, `${sid}0`, `${sid}.${tag}`, `${id}.${'f'.repeat(16)}`, `${id}.${tag.toUpperCase()}x`, `${'x'.repeat(24)}.${tag}`, `${id}.${'0'.repeat(8_000)}`, '%F0%9F%A6%80.x', '%00', `..%2f.${tag}`];
    for (const gateway of [a, b]) {
      for (const sid of strange) {
        for (const method of ['GET', 'POST']) {
          const { status, took } = await poll(gateway, sid, { method });
          assert.equal(status, 400, `${method} ${sid.slice(0, 60)}`);
          assert.ok(took < 2_000, `${method} ${sid.slice(0, 60)}: ${took} ms`);
        }
        const socket = new RawSocket(upgradeUrl(gateway, `&sid=${sid}`));
        await socket.ended(3_000);
        assert.deepEqual(socket.frames, []);
      }
    }
    assert.equal((await poll(b, sid)).body, 'ok', 'the valid session still works');
  });

  await step('another origin is refused by the gateway that receives the request', async () => {
    const sid = await open(a);
    const headers = { origin: 'http://evil.example' };
    assert.equal((await poll(b, sid, { headers })).status, 403);
    const socket = new RawSocket(upgradeUrl(b, `&sid=${sid}`), { headers });
    await socket.ended(3_000);
    assert.equal(socket.refused, 403);
  });

  await step('an unauthenticated client of the peer listener gets no answer', async () => {
    const sid = await open(a);
    const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    const greeting = Buffer.concat([Buffer.from('RCP1'), Buffer.alloc(104)]);
    for (const input of [`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`, greeting, Buffer.concat([greeting, Buffer.from(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`)]), '']) {
      const received = [];
      const socket = createConnection(a.peerPort, '127.0.0.1', () => input && socket.write(input));
      scope().defer(() => socket.destroy());
      let closed = false;
      socket.on('data', (chunk) => received.push(chunk)).on('error', () => {}).on('close', () => (closed = true));
      await eventually(() => closed, { timeout: 4_000, what: 'it is disconnected' });
      // The nonce only, and nothing that was computed with the secret.
      assert.ok(Buffer.concat(received).length <= 36, Buffer.concat(received).toString('latin1'));
    }
    assert.equal((await poll(b, sid)).body, 'ok');
  });

  await step('a gateway that hangs times out quickly', async () => {
    const sid = await open(a);
    await a.process.freeze();
    const { took, ...answer } = await poll(late, sid).finally(() => a.process.signal('SIGCONT'));
    isUnknown(answer, 'it accepts, and does not answer');
    assert.ok(took < 4_000, `${took} ms`);
    assert.equal((await poll(late, sid)).body, 'ok', 'and works again');
  });

  await step('a gateway whose lease was lost keeps its sessions', async () => {
    const sid = await open(a);
    assert.equal((await poll(b, sid)).body, 'ok');
    await redis.command('FLUSHALL');
    assert.equal((await poll(b, sid)).body, 'ok');
  });

  await step('a gateway that is gone is detected at once', async () => {
    const sid = await open(a);
    assert.equal((await poll(b, sid, { body: '40/native,{"username":"ann"}' })).body, 'ok');
    assert.match((await poll(b, sid, { method: 'GET' })).body, /^40\/native,/);
    const waiting = poll(b, sid, { method: 'GET' });
    assert.equal((await poll(b, sid)).body, 'ok', 'while another waits');
    await a.kill9();
    isUnknown(await waiting, 'a poll under way');
    const { took, ...answer } = await poll(b, sid);
    isUnknown(answer, 'a poll afterwards');
    assert.ok(took < 1_500, `${took} ms`);
    assert.ok((await forwarded([b]))['poll unreachable'] >= 2);
    const socket = new RawSocket(upgradeUrl(b, `&sid=${sid}`));
    await socket.ended(2_000);
    assert.equal(socket.refused, 400);
  });
});
