// What happens when: turns what the person does and what the cluster says into requests
// (connection.ts) and changes of state (state.ts). The views call the `Actions` it returns.

import { createConnection, Refusal, type Connection, type News, type Told } from './connection.ts';
import * as identity from './identity.ts';
import type { Epoch, RoomCount } from './protocol.ts';
import * as change from './state.ts';
import type { Store } from './store.ts';
import { say } from './strings.ts';

export interface Actions {
  signIn(name: string): void;
  signOut(): void;
  openRoom(name: string): void;
  leaveRoom(name: string): void;
  send(text: string): void;
  retry(id: string): void;
  discard(id: string): void;
  typing(active: boolean): void;
  loadOlder(): void;
  loadMoreUsers(): void;
  look(change: { focused?: boolean; pinned?: boolean }): void;
  dismissGap(): void;
}

const FIRST_ROOM = 'general';
const PAGE = 50;
const TYPING_EVERY = 3000;
const DIRECTORY_EVERY = 15_000;
const ROOMS_LISTED = 500;
const STATUS_LASTS = 6000;

export function createSession(store: Store): Actions {
  const { apply } = store;
  const sending = new Set<string>();
  const pages = new Map<string, string | undefined>();
  let typed: { room: string; at: number } | null = null;
  let typingStops: ReturnType<typeof setTimeout> | undefined;
  let statusFades: ReturnType<typeof setTimeout> | undefined;

  const tell = (status: string): void => {
    clearTimeout(statusFades);
    apply((state) => ({ ...state, status }));
    statusFades = setTimeout(() => apply((state) => ({ ...state, status: '' })), STATUS_LASTS);
  };
  const tellWhy = (error: unknown): void => {
    const why = reason(error);
    if (why) tell(why);
  };
  const page = (): number => Math.min(PAGE, store.state.limits.max_page);

  const connection: Connection = createConnection(() => ({ username: store.state.self, resume: identity.secret() }), {
    refused: (code) =>
      apply((state) => change.linked(state, { is: 'out', error: say.refusal[code] ?? say.refused(code) })),
    waiting: (code) => {
      apply((state) => change.linked(state, { is: 'waiting', why: say.refusal[code] ?? say.waiting }));
    },
    lost: (attempt) => {
      typed = null;
      apply((state) => change.linked(state, { is: 'lost', attempt }));
    },
    transport: (transport) => apply((state) => ({ ...state, transport })),
    latency: (ms) => apply((state) => ({ ...state, latency: Math.max(1, Math.round(ms)) })),
    event: (name, payload) => (events[name] as (payload: unknown) => void)(payload),
  });

  const events: { [E in Told]: (payload: News<E>) => void } = {
    welcome(welcome) {
      apply((state) => change.welcomed(state, welcome));
      identity.rememberName(welcome.user);
      if (store.state.rooms.size === 0) apply((state) => change.opened(state, FIRST_ROOM));
      // The room in view comes first.
      const names = [...store.state.rooms.keys()];
      names.sort((a, b) => Number(b === store.state.active) - Number(a === store.state.active));
      for (const name of names) void join(name);
      void listRooms();
    },
    message(message) {
      if (store.state.rooms.has(message.room)) apply((state) => change.received(state, message));
      else if (message.room.startsWith('@')) tell(say.announcement(message.user, message.text ?? ''));
    },
    presence: (news) => apply((state) => change.presenceChanged(state, news, Date.now())),
    online_users: ({ room, ...online }) => apply((state) => change.onlineReplaced(state, room, online)),
    typing: (news) => apply((state) => change.typingChanged(state, news, Date.now())),
    resync: ({ room, epoch }) => void reload(room, epoch),
    restarting: () => apply((state) => change.linked(state, { is: 'restarting' })),
  };

  async function join(name: string): Promise<void> {
    const room = store.state.rooms.get(name);
    if (!room || !connection.connected) return;
    try {
      const since = room.position ? { since: room.position } : {};
      const ack = await connection.request('join', { room: name, limit: page(), ...since });
      pages.delete(name);
      apply((state) => change.joined(state, name, ack));
      void pump(name);
    } catch (error) {
      if (isLost(error)) return;
      tellWhy(error);
      const wait = error instanceof Refusal ? (error.retryAfter ?? (error.code === 'no_answer' ? 1000 : null)) : null;
      if (wait !== null) setTimeout(() => void join(name), wait);
      else apply((state) => change.closed(state, name));
    }
  }

  async function reload(name: string, epoch: Epoch): Promise<void> {
    apply((state) => change.resyncStarted(state, name));
    try {
      const { messages, more } = await connection.request('history', { room: name, limit: page() });
      apply((state) => change.resyncLoaded(state, name, epoch, messages, more));
    } catch (error) {
      apply((state) => change.historyFailed(state, name));
      tellWhy(error);
    }
  }

  /** Sends a room's queue, one message at a time; an id that was stored already is stored once. */
  async function pump(name: string): Promise<void> {
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
          tellWhy(error);
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
      } while (cursor !== undefined && found.size < ROOMS_LISTED);
      apply((state) => ({ ...state, directory: [...found.values()] }));
    } catch {
      // The list is a convenience; the next round asks again.
    }
  }

  function stopTyping(): void {
    clearTimeout(typingStops);
    if (typed) connection.hint('typing', { room: typed.room, typing: false });
    typed = null;
  }

  setInterval(() => document.hidden || void listRooms(), DIRECTORY_EVERY);
  setInterval(() => apply((state) => change.typingExpired(state, Date.now())), 1000);

  if (store.state.self) connection.connect();

  return {
    signIn(typedName) {
      const name = typedName.trim();
      if (!name) return;
      connection.disconnect();
      apply((state) => change.linked(name === state.self ? state : change.renamed(state, name), { is: 'connecting' }));
      connection.connect();
    },
    signOut() {
      stopTyping();
      connection.disconnect();
      apply((state) => change.linked(state, { is: 'out', error: '' }));
    },
    openRoom(typedName) {
      const name = typedName.trim().replace(/^#+/, '');
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
        tell(say.leftTheRoom(name));
        return listRooms();
      }, tellWhy);
    },
    send(text) {
      const room = store.state.active;
      if (room === null) return;
      stopTyping();
      apply((state) => change.queued(state, room, identity.messageId(), text, Date.now()));
      void pump(room);
    },
    retry(id) {
      const room = store.state.active;
      if (room === null) return;
      apply((state) => change.retried(state, room, id, Date.now()));
      void pump(room);
    },
    discard(id) {
      apply((state) => (state.active === null ? state : change.discarded(state, state.active, id)));
    },
    typing(active) {
      const room = store.state.active;
      if (!active || room === null) return stopTyping();
      clearTimeout(typingStops);
      typingStops = setTimeout(stopTyping, TYPING_EVERY);
      if (typed && typed.room === room && Date.now() - typed.at < TYPING_EVERY) return;
      typed = { room, at: Date.now() };
      connection.hint('typing', { room, typing: true });
    },
    loadOlder() {
      const room = change.activeRoom(store.state);
      const before = room ? change.oldestOffset(room) : undefined;
      if (!room?.joined || !room.more || room.loading || before === undefined) return;
      apply((state) => change.historyRequested(state, room.name));
      connection.request('history', { room: room.name, before, limit: page() }).then(
        ({ messages, more }) => apply((state) => change.historyLoaded(state, room.name, messages, more)),
        (error) => {
          apply((state) => change.historyFailed(state, room.name));
          tellWhy(error);
        },
      );
    },
    loadMoreUsers() {
      const room = change.activeRoom(store.state);
      if (!room?.joined) return;
      const cursor = pages.get(room.name);
      const from = cursor === undefined ? {} : { cursor };
      connection
        .request('online_users', { room: room.name, limit: store.state.limits.max_page, ...from })
        .then((answer) => {
          pages.set(room.name, answer.cursor);
          apply((state) => change.onlineExtended(state, room.name, answer));
        }, tellWhy);
    },
    look: (seen) => apply((state) => change.looked(state, seen)),
    dismissGap: () => apply((state) => (state.active === null ? state : change.gapDismissed(state, state.active))),
  };
}

function isLost(error: unknown): boolean {
  return error instanceof Refusal && error.code === 'lost';
}

function reason(error: unknown): string {
  if (!(error instanceof Refusal)) return String(error);
  if (error.code === 'lost') return '';
  if (error.code === 'no_answer') return say.noAnswer;
  return say.sentence(error.message || error.code);
}
