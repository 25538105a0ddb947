// The controller: turns user actions and server events into requests (connection.ts) and changes of state (state.ts).
// The views call the `Actions` that it returns.

import { createConnection, Refusal, type Connection, type EventPayload, type ServerEvent } from './connection.ts';
import { canonicalName } from './format.ts';
import * as identity from './identity.ts';
import type { AnyMessage, Epoch, Message, RoomCount } from './protocol.ts';
import * as change from './state.ts';
import type { Store } from './store.ts';
import { texts } from './strings.ts';

export interface Actions {
  signIn(name: string): void;
  signOut(): void;
  openRoom(name: string): void;
  leaveRoom(name: string): void;
  send(text: string): void;
  sendImage(file: Blob): void;
  retry(id: string): void;
  discard(id: string): void;
  typing(active: boolean): void;
  loadOlder(): void;
  loadMoreUsers(): void;
  viewChanged(change: { focused?: boolean; pinned?: boolean }): void;
  dismissGap(): void;
}

/** The page of a room's history has messages of rooms only. */
const ofRoom = (messages: readonly AnyMessage[]): Message[] => messages.filter((message) => 'room' in message);

const FIRST_ROOM = 'general';
const PAGE = 50;
const TYPING_INTERVAL = 3000;
const ROOM_LIST_INTERVAL = 15_000;
const MAX_LISTED_ROOMS = 500;
const STATUS_DURATION = 6000;
/** Longest description of an image that is sent, in characters. */
const MAX_ALT = 200;

export function createSession(store: Store): Actions {
  const { apply } = store;
  const sending = new Set<string>();
  const userCursors = new Map<string, string | undefined>();
  let lastTyping: { room: string; at: number } | null = null;
  let typingTimer: ReturnType<typeof setTimeout> | undefined;
  let statusTimer: ReturnType<typeof setTimeout> | undefined;

  const showStatus = (status: string): void => {
    clearTimeout(statusTimer);
    apply((state) => ({ ...state, status }));
    statusTimer = setTimeout(() => apply((state) => ({ ...state, status: '' })), STATUS_DURATION);
  };
  const showError = (error: unknown): void => {
    const why = reason(error);
    if (why) showStatus(why);
  };
  const pageSize = (): number => Math.min(PAGE, store.state.limits.max_page);

  const connection: Connection = createConnection(() => ({ username: store.state.self, resume: identity.secret() }), {
    refused: (code) =>
      apply((state) => change.linkChanged(state, { is: 'out', error: texts.refusal[code] ?? texts.refused(code) })),
    waiting: (code) => {
      apply((state) => change.linkChanged(state, { is: 'waiting', why: texts.refusal[code] ?? texts.waiting }));
    },
    lost: (attempt) => {
      lastTyping = null;
      apply((state) => change.linkChanged(state, { is: 'lost', attempt }));
    },
    transport: (transport) => apply((state) => ({ ...state, transport })),
    latency: (ms) => apply((state) => ({ ...state, latency: Math.max(1, Math.round(ms)) })),
    event: (name, payload) => (events[name] as (payload: unknown) => void)(payload),
  });

  const events: { [E in ServerEvent]: (payload: EventPayload<E>) => void } = {
    welcome(welcome) {
      apply((state) => change.welcomed(state, welcome));
      identity.saveName(welcome.user);
      if (store.state.rooms.size === 0) apply((state) => change.opened(state, FIRST_ROOM));
      // The active room is joined first.
      const names = [...store.state.rooms.keys()];
      names.sort((a, b) => Number(b === store.state.active) - Number(a === store.state.active));
      for (const name of names) void join(name);
      void listRooms();
    },
    message(message) {
      if (store.state.rooms.has(message.room)) apply((state) => change.received(state, message));
      else if (message.room.startsWith('@')) showStatus(texts.announcement(message.user, message.text ?? ''));
    },
    presence: (news) => apply((state) => change.presenceChanged(state, news, Date.now())),
    online_users: ({ room, ...online }) => apply((state) => change.onlineReplaced(state, room, online)),
    typing: (news) => apply((state) => change.typingChanged(state, news, Date.now())),
    resync: ({ room, epoch }) => void reload(room, epoch),
    // This UI does not show private messages.
    private_message: () => {},
    inbox: () => {},
    restarting: () => apply((state) => change.linkChanged(state, { is: 'restarting' })),
  };

  async function join(name: string): Promise<void> {
    const room = store.state.rooms.get(name);
    if (!room || !connection.connected) return;
    try {
      const since = room.position ? { since: room.position } : {};
      const ack = await connection.request('join', { room: name, limit: pageSize(), ...since });
      userCursors.delete(name);
      apply((state) => change.joined(state, name, ack));
      void sendQueued(name);
    } catch (error) {
      if (isLost(error)) return;
      showError(error);
      const wait = error instanceof Refusal ? (error.retryAfter ?? (error.code === 'no_answer' ? 1000 : null)) : null;
      if (wait !== null) setTimeout(() => void join(name), wait);
      else apply((state) => change.closed(state, name));
    }
  }

  async function reload(name: string, epoch: Epoch): Promise<void> {
    apply((state) => change.resyncStarted(state, name));
    try {
      const { messages, more } = await connection.request('history', { room: name, limit: pageSize() });
      apply((state) => change.resyncLoaded(state, name, epoch, ofRoom(messages), more));
    } catch (error) {
      apply((state) => change.historyFailed(state, name));
      showError(error);
    }
  }

  /** Sends a room's queued messages one at a time. Repeating an id is safe: the server stores it once. */
  async function sendQueued(name: string): Promise<void> {
    if (sending.has(name)) return;
    for (;;) {
      const next = change.nextToSend(store.state, name);
      if (!next) return;
      sending.add(name);
      try {
        const ack = await connection.request('send_message', { room: name, text: next.text, id: next.id });
        apply((state) => change.sent(state, name, ack));
      } catch (error) {
        if (isLost(error)) return;
        if (error instanceof Refusal && error.retryAfter !== null) {
          showError(error);
          await new Promise((resolve) => setTimeout(resolve, error.retryAfter ?? 0));
        } else {
          apply((state) => change.sendFailed(state, name, next.id, reason(error)));
        }
      } finally {
        sending.delete(name);
      }
    }
  }

  async function listRooms(): Promise<void> {
    const found = new Map<string, RoomCount>();
    const limit = store.state.limits.max_page;
    try {
      let cursor: string | undefined;
      do {
        const from = cursor === undefined ? {} : { cursor };
        const answer = await connection.request('rooms', { limit, ...from });
        for (const entry of answer.rooms) found.set(entry.room, entry);
        cursor = answer.cursor;
      } while (cursor !== undefined && found.size < MAX_LISTED_ROOMS);
      apply((state) => ({ ...state, directory: [...found.values()] }));
    } catch {
      // Not essential: the list is requested again after ROOM_LIST_INTERVAL.
    }
  }

  function stopTyping(): void {
    clearTimeout(typingTimer);
    if (lastTyping) connection.emitVolatile('typing', { room: lastTyping.room, typing: false });
    lastTyping = null;
  }

  setInterval(() => document.hidden || void listRooms(), ROOM_LIST_INTERVAL);
  setInterval(() => apply((state) => change.typingExpired(state, Date.now())), 1000);

  if (store.state.self) connection.connect();

  return {
    signIn(typedName) {
      const name = canonicalName(typedName);
      if (!name) return;
      connection.disconnect();
      apply((state) =>
        change.linkChanged(name === state.self ? state : change.renamed(state, name), { is: 'connecting' }),
      );
      connection.connect();
    },
    signOut() {
      stopTyping();
      connection.disconnect();
      apply((state) => change.linkChanged(state, { is: 'out', error: '' }));
    },
    openRoom(typedName) {
      const name = canonicalName(typedName).replace(/^#+/, '');
      if (!name) return;
      stopTyping();
      const known = store.state.rooms.has(name);
      apply((state) => change.opened(state, name));
      if (!known) void join(name).then(listRooms);
    },
    leaveRoom(name) {
      stopTyping();
      apply((state) => change.closed(state, name));
      if (!connection.connected) return;
      connection.request('leave', { room: name }).then(() => {
        showStatus(texts.leftTheRoom(name));
        return listRooms();
      }, showError);
    },
    send(text) {
      const room = store.state.active;
      if (room === null) return;
      stopTyping();
      apply((state) => change.queued(state, room, identity.messageId(), text, Date.now()));
      void sendQueued(room);
    },
    sendImage(file) {
      const room = store.state.active;
      if (room === null) return;
      const max = store.state.limits.max_image;
      if (file.size > max) return showStatus(texts.imageTooLarge(max));
      showStatus(texts.sendingImage);
      const alt = file instanceof File ? { alt: file.name.slice(0, MAX_ALT) } : {};
      connection
        .request('send_image', { room, image: file, id: identity.messageId(), ...alt })
        .then(() => showStatus(''), (error) => showStatus(texts.notSent(reason(error) || texts.noAnswer)));
    },
    retry(id) {
      const room = store.state.active;
      if (room === null) return;
      apply((state) => change.retried(state, room, id, Date.now()));
      void sendQueued(room);
    },
    discard(id) {
      apply((state) => (state.active === null ? state : change.discarded(state, state.active, id)));
    },
    typing(active) {
      const room = store.state.active;
      if (!active || room === null) return stopTyping();
      clearTimeout(typingTimer);
      typingTimer = setTimeout(stopTyping, TYPING_INTERVAL);
      if (lastTyping && lastTyping.room === room && Date.now() - lastTyping.at < TYPING_INTERVAL) return;
      lastTyping = { room, at: Date.now() };
      connection.emitVolatile('typing', { room, typing: true });
    },
    loadOlder() {
      const room = change.activeRoom(store.state);
      const before = room ? change.oldestOffset(room) : undefined;
      if (!room?.joined || !room.more || room.loading || before === undefined) return;
      apply((state) => change.historyRequested(state, room.name));
      connection.request('history', { room: room.name, before, limit: pageSize() }).then(
        ({ messages, more }) => apply((state) => change.historyLoaded(state, room.name, ofRoom(messages), more)),
        (error) => {
          apply((state) => change.historyFailed(state, room.name));
          showError(error);
        },
      );
    },
    loadMoreUsers() {
      const room = change.activeRoom(store.state);
      if (!room?.joined) return;
      const cursor = userCursors.get(room.name);
      const from = cursor === undefined ? {} : { cursor };
      connection
        .request('online_users', { room: room.name, limit: store.state.limits.max_page, ...from })
        .then((answer) => {
          userCursors.set(room.name, answer.cursor);
          apply((state) => change.onlineExtended(state, room.name, answer));
        }, showError);
    },
    viewChanged: (view) => apply((state) => change.viewChanged(state, view)),
    dismissGap: () => apply((state) => (state.active === null ? state : change.gapDismissed(state, state.active))),
  };
}

function isLost(error: unknown): boolean {
  return error instanceof Refusal && error.code === 'lost';
}

function reason(error: unknown): string {
  if (!(error instanceof Refusal)) return String(error);
  if (error.code === 'lost') return '';
  if (error.code === 'no_answer') return texts.noAnswer;
  return texts.sentence(error.message || error.code);
}
