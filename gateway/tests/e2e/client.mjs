// An official socket.io-client that records what it receives: messages in order, online users, presence events.
import assert from 'node:assert/strict';
import { io } from 'socket.io-client';

import { scope } from './scope.mjs';
import { eventually, unique } from './wait.mjs';

const ACK_TIMEOUT = 15_000;

/** A client's state of one room, from join acknowledgements and events in their order. */
class Room {
  messages = [];
  online = new Set();
  news = [];

  get offsets() {
    return this.messages.map((message) => message.offset);
  }

  get texts() {
    return this.messages.map((message) => message.text);
  }

  get position() {
    const last = this.messages.at(-1);
    return last ? { epoch: last.epoch, offset: last.offset } : this.start;
  }

  message(message) {
    this.messages.push({ ...message, at: performance.now() });
  }

  snapshot({ users }) {
    this.online = new Set(users);
  }

  presence({ joined, left }) {
    const at = performance.now();
    for (const user of joined) this.online.add(user);
    for (const user of left) this.online.delete(user);
    this.news.push(...joined.map((user) => ({ kind: 'joined', user, at })));
    this.news.push(...left.map((user) => ({ kind: 'left', user, at })));
  }

  /** The times of `presence` events that a user joined or left. */
  told(kind, user) {
    return this.news.filter((item) => item.kind === kind && item.user === user).map((item) => item.at);
  }
}

export class Client {
  events = [];
  joins = [];
  #rooms = new Map();

  constructor(target, options = {}) {
    const { name = unique('user'), resume, namespace = '/native', auth, rejoin = false, ...rest } = options;
    this.name = name;
    this.socket = io(target.url + (namespace === '/' ? '' : namespace), {
      forceNew: true,
      transports: ['websocket'],
      auth: auth ?? { username: name, ...(resume && { resume }) },
      ...rest,
    });
    this.socket.onAny((event, payload) => this.#event(event, payload));
    this.socket.on('connect', () => {
      if (!rejoin) return;
      // If the connection is lost again before the answer, the next `connect` joins again.
      for (const [room, { position }] of this.#rooms) this.join(room, { since: position }).catch(() => {});
    });
    this.socket.on('connect_error', (error) => {
      if (!this.socket.active) this.refusal = error;
    });
    scope().defer(() => this.close());
  }

  #event(event, payload) {
    this.events.push({ event, payload });
    if (event === 'welcome') {
      this.welcome = payload;
      // Kept for reconnects, as clients should: without it the name in grace would be refused.
      if (payload.resume) this.socket.auth.resume = payload.resume;
    }
    if (event === 'message') this.room(payload.room).message(payload);
    if (event === 'presence') this.room(payload.room).presence(payload);
    if (event === 'online_users') this.room(payload.room).snapshot(payload);
  }

  room(name) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Room());
    return this.#rooms.get(name);
  }

  /** Emits exactly these arguments and returns the acknowledgement; `seen` gets it in packet order. */
  call(event, args, { timeout = ACK_TIMEOUT, seen } = {}) {
    return new Promise((resolve, reject) => {
      this.socket.timeout(timeout).emit(event, ...args, (error, ack) => {
        if (error) return reject(new Error(`${this.name}: no acknowledgement of ${event} within ${timeout} ms`));
        seen?.(ack);
        resolve(ack);
      });
    });
  }

  ask(event, payload, options) {
    return this.call(event, [payload], options);
  }

  async ok(event, payload, options) {
    const ack = await this.ask(event, payload, options);
    assert.equal(ack?.status, 'ok', `${event} was answered ${JSON.stringify(ack)}`);
    return ack;
  }

  /** The request must be refused with this code, in the common form of refusals. */
  async refused(event, payload, code) {
    const ack = await this.ask(event, payload);
    assertRefusal(ack, code, event);
    return ack;
  }

  async join(room, more = {}) {
    const seen = (ack) => {
      this.joins.push(ack);
      if (ack?.status !== 'ok') return;
      const known = this.room(room);
      known.start ??= { epoch: ack.epoch, offset: ack.offset };
      known.snapshot(ack.online);
      if (more.since) ack.messages.forEach((message) => known.message(message));
    };
    return this.ok('join', { room, ...more }, { seen });
  }

  send(room, text, id) {
    return this.ok('send_message', { room, text, ...(id && { id }) });
  }

  /** Waits until this client knows that all these users are in the room. */
  sees(room, ...users) {
    return eventually(() => users.every((user) => this.room(room).online.has(user)), {
      what: () => `${this.name} sees ${users} in ${room}; online: ${[...this.room(room).online]}`,
    });
  }

  /** Waits for the `presence` event that the user left. */
  seesLeave(room, user, timeout = 10_000) {
    return eventually(() => this.room(room).told('left', user)[0], {
      timeout,
      what: () => `${this.name} sees ${user} leave ${room}; news: ${JSON.stringify(this.room(room).news)}`,
    });
  }

  /** Waits until the last message of the room that this client has is this one or a later one. */
  has(room, offset, timeout = 10_000) {
    return eventually(() => (this.room(room).position?.offset ?? 0) >= offset, {
      timeout,
      what: () => `${this.name} has offset ${offset} of ${room}; has ${this.room(room).position?.offset}`,
    });
  }

  /** Drops the transport: no packet, no closing handshake. */
  cut() {
    this.socket.io.engine.transport.ws.terminate();
  }

  /** Sends a Socket.IO disconnect packet. */
  disconnect() {
    this.socket.disconnect();
  }

  close() {
    this.socket.disconnect();
  }
}

/** A connected client. The first event of a connection is `welcome`. */
export async function connect(target, options = {}) {
  const client = new Client(target, options);
  await eventually(() => client.welcome ?? client.refusal, { timeout: 20_000, what: `${client.name} gets a welcome` });
  assert.ok(!client.refusal, `${client.name} was refused: ${client.refusal?.message}`);
  assert.equal(client.events[0].event, 'welcome', 'the first event of a connection');
  return client;
}

/** A connection that must be refused: its `connect_error`, whose message is the code. */
export async function refusedConnect(target, options = {}) {
  const client = new Client(target, { reconnection: false, ...options });
  await eventually(() => client.welcome ?? client.refusal, { timeout: 15_000, what: `${client.name} is refused` });
  client.close();
  assert.ok(client.refusal, `${client.name} was connected`);
  return client.refusal;
}

export function assertRefusal(ack, code, what = 'the request') {
  const shown = `${what} was answered ${JSON.stringify(ack)}`;
  assert.equal(ack?.status, 'error', shown);
  assert.equal(ack.code, code, shown);
  assert.ok(typeof ack.message === 'string' && ack.message.length > 0, shown);
}
