// Front ends of the classic chats: each on the client version that its original used, speaking only its own
// vocabulary, and recording what it receives.
import io2 from 'socket.io-client-2';
import { io as io30 } from 'socket.io-client-3-0';
import { io as io31 } from 'socket.io-client-3';
import { io as io4 } from 'socket.io-client';

import { scope } from './scope.mjs';
import { eventually, unique } from './wait.mjs';

/** The vocabularies. `listen`: events of the server; `shown`: the sender and text of a message in them. */
const CHATS = {
  flocker: {
    io: io4,
    listen: ['message', 'online_users'],
    join: (name, room) => ['join', { username: name, room }],
    say: (name, room, text) => ['send_message', { username: name, room, msg: text }],
    leave: (name, room) => ['leave', { room }],
    shown: ([event, { username, msg }]) => event === 'message' && username !== 'System' && [username, msg],
    told: ([event, { username, msg }]) => event === 'message' && username === 'System' && msg,
    joined: (name, room) => `${name} joined ${room}.`,
    left: (name, room) => `${name} left ${room}.`,
  },
  abidev: {
    io: io2,
    listen: ['message receive'],
    say: (name, room, text) => ['message broadcast', { message: text, client: name }],
    shown: ([, { client, message }]) => client !== 'System' && [client, message],
    told: ([, { client, message }]) => client === 'System' && message,
  },
  'flask-chat-app': {
    io: io30,
    listen: ['join_room_announcement', 'receive_message', 'leave_room_announcement'],
    join: (name, room) => ['join_room', { username: name, room }],
    say: (name, room, text) => ['send_message', { username: name, room, message: text }],
    leave: (name, room) => ['leave_room', { username: name, room }],
    shown: ([event, { username, message }]) => event === 'receive_message' && username !== 'System' && [username, message],
    told: ([event, { username, message }]) =>
      event === 'receive_message' ? username === 'System' && message : `${username} ${event}`,
    joined: (name) => `${name} join_room_announcement`,
    left: (name) => `${name} leave_room_announcement`,
  },
  ribbit: {
    io: io4,
    proved: true,
    listen: ['chat', 'new_message'],
    join: (name, room) => ['join', { threadId: room }],
    say: (name, room, text) => ['chat', { threadId: room, message: text }],
    leave: (name, room) => ['leave', { threadId: room }],
    shown: ([event, { username, message }]) => event === 'chat' && username !== 'System' && [username, message],
    told: ([event, { username, message }]) => event === 'chat' && username === 'System' && message,
  },
  'private-rooms': {
    io: io31,
    listen: ['chat', 'message'],
    join: (name, room) => ['chat', { event: 'join', user: name, room }],
    say: (name, room, text) => ['chat', { event: 'chat', room, text }],
    leave: (name, room) => ['chat', { event: 'leave', user: name, room }],
    shown: ([event, { type, from, message }]) => event === 'chat' && type === 'chat' && [from, message],
    told: ([event, payload]) => (event === 'message' ? payload : payload.type !== 'chat' && payload.message),
    joined: (name, room) => `New User ${name} joined room ${room}`,
    left: (name, room) => `User ${name} left room ${room}`,
  },
};

export const chats = Object.keys(CHATS);

export class Front {
  received = [];

  /** `namespace`: `/` where the gateway's `--dialect` is this chat. `auth`: a name that is proved. */
  constructor(target, chat, { name = unique(chat), namespace = `/${chat}`, auth, ...options } = {}) {
    this.chat = CHATS[chat];
    Object.assign(this, { name, label: `${name} (${chat})` });
    const proof = auth ?? (this.chat.proved ? { username: name, resume: `the secret of ${name}` } : undefined);
    const sent = this.chat.io === io2 ? { query: proof } : { auth: proof };
    const url = target.url + (namespace === '/' ? '' : namespace);
    this.socket = this.chat.io(url, { forceNew: true, ...(proof && sent), ...options });
    for (const event of this.chat.listen) this.socket.on(event, (payload) => this.received.push([event, payload]));
    this.socket.on('disconnect', (why) => (this.gone = why));
    scope().defer(() => this.socket.disconnect());
  }

  emit([event, payload]) {
    this.socket.emit(event, payload);
  }

  /** The acknowledgement of an event. */
  ask([event, payload]) {
    return new Promise((resolve) => this.socket.emit(event, payload, resolve));
  }

  async join(room) {
    this.room = room;
    const ack = this.chat.join ? await this.ask(this.chat.join(this.name, room)) : { status: 'ok' };
    if (ack.status !== 'ok') throw new Error(`${this.label} cannot join: ${JSON.stringify(ack)}`);
    return this;
  }

  say(text) {
    return this.ask(this.chat.say(this.name, this.room, text));
  }

  leave() {
    return this.ask(this.chat.leave(this.name, this.room));
  }

  /** The messages as the page would show them: `[sender, text]`. */
  get shown() {
    return this.received.map(this.chat.shown).filter(Boolean);
  }

  /** The texts of the server itself. */
  get told() {
    return this.received.map(this.chat.told).filter(Boolean);
  }

  count(line) {
    return this.told.filter((told) => told === line).length;
  }

  until(what, condition, timeout = 15_000) {
    const state = () => `${this.label} ${what}; ${this.gone ?? ''} received ${JSON.stringify(this.received).slice(-700)}`;
    return eventually(condition, { timeout, what: state });
  }

  sees(sender, text) {
    return this.until(`sees ${sender}: ${text}`, () => this.shown.some(([from, shown]) => from === sender && shown === text));
  }

  hears(line) {
    return this.until(`is told: ${line}`, () => this.told.includes(line));
  }

  /** Drops the transport: no packet, no closing handshake. */
  cut() {
    this.socket.io.engine.transport.ws.terminate();
  }
}
