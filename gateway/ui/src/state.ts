// The state of the page and its transitions: pure functions from one State to the next, without DOM, clock or network.
// session.ts applies them; view/*.ts draws the result.

import type {
  Epoch,
  Joined,
  Limits,
  Message,
  Online,
  Position,
  Presence,
  RoomCount,
  Sent,
  TypingNews,
  Welcome,
} from './protocol.ts';

/** The state of the connection. */
export type Link =
  | { readonly is: 'out'; readonly error: string }
  | { readonly is: 'connecting' }
  | { readonly is: 'online' }
  | { readonly is: 'lost'; readonly attempt: number }
  | { readonly is: 'restarting' }
  | { readonly is: 'waiting'; readonly why: string };

/** A stored message, or a note of users who joined and left after the message before it. */
export type Item =
  | { readonly is: 'message'; readonly message: Message }
  | {
      readonly is: 'presence';
      readonly key: string;
      readonly ts: number;
      readonly joined: readonly string[];
      readonly left: readonly string[];
    };

/** An own message that has not been acknowledged yet. */
export interface Outgoing {
  readonly id: string;
  readonly text: string;
  readonly ts: number;
  /** Why it was refused; null while it is queued or waits for its acknowledgement. */
  readonly failed: string | null;
}

export interface Room {
  readonly name: string;
  /** True from a join's acknowledgement until the loss of that connection. */
  readonly joined: boolean;
  /** Everything up to here has been received. Only events advance it, not the acknowledgement of a send. */
  readonly position: Position | null;
  readonly items: readonly Item[];
  readonly outbox: readonly Outgoing[];
  /** Whether there may be messages older than items[0]. */
  readonly more: boolean;
  readonly loading: boolean;
  /** Messages received while a resync reloads the history; null when none is running. */
  readonly reloading: readonly Message[] | null;
  /** Some messages could not be recovered, and the notice has not been dismissed yet. */
  readonly gap: boolean;
  readonly online: Online;
  /** Users who are typing, with the time at which that expires. */
  readonly typing: ReadonlyMap<string, number>;
  readonly unread: number;
  /** Id of the first unread message; the "new" divider is shown before it. */
  readonly firstUnread: string | null;
  /** The position up to which the user has read. */
  readonly read: Position | null;
}

export interface State {
  readonly link: Link;
  /** Shows the chat rather than the name form. */
  readonly entered: boolean;
  readonly self: string;
  readonly node: string;
  readonly transport: string;
  readonly latency: number | null;
  readonly limits: Limits;
  readonly rooms: ReadonlyMap<string, Room>;
  readonly active: string | null;
  /** The room that was active before. */
  readonly previous: string | null;
  readonly directory: readonly RoomCount[];
  /** The page is visible and has the focus. */
  readonly focused: boolean;
  /** The active room's log is scrolled to its end. */
  readonly pinned: boolean;
  /** The text of the status line; may be empty. */
  readonly status: string;
}

/** What is saved across reloads of the page. */
export interface SavedState {
  readonly name: string;
  readonly active: string | null;
  readonly rooms: readonly { readonly room: string; readonly read: Position | null }[];
}

/** Items kept of a room; older ones are loaded from the history again. */
export const MAX_ITEMS = 1000;
/** Typing expires after this time without another event, in milliseconds. */
export const TYPING_TIMEOUT = 5000;

/** Used until `welcome` carries the limits in force. */
const LIMITS: Limits = { max_text: 16_384, max_name: 64, max_room: 128, max_rooms: 256, max_page: 200, max_image: 1_048_576 };

export function initial(saved: SavedState): State {
  const rooms = new Map<string, Room>();
  for (const { room, read } of saved.rooms) rooms.set(room, { ...emptyRoom(room), read });
  const active = saved.active !== null && rooms.has(saved.active) ? saved.active : null;
  return {
    link: saved.name ? { is: 'connecting' } : { is: 'out', error: '' },
    entered: saved.name !== '',
    self: saved.name,
    node: '',
    transport: '',
    latency: null,
    limits: LIMITS,
    rooms,
    active: active ?? rooms.keys().next().value ?? null,
    previous: null,
    directory: [],
    focused: true,
    pinned: true,
    status: '',
  };
}

function emptyRoom(name: string): Room {
  return {
    name,
    joined: false,
    position: null,
    items: [],
    outbox: [],
    more: false,
    loading: false,
    reloading: null,
    gap: false,
    online: { count: 0, users: [] },
    typing: new Map(),
    unread: 0,
    firstUnread: null,
    read: null,
  };
}

// The connection

export function linkChanged(state: State, link: Link): State {
  const alive = link.is === 'online' || link.is === 'restarting';
  const rooms = alive ? state.rooms : mapRooms(state.rooms, disconnected);
  return { ...state, link, rooms, entered: state.entered && link.is !== 'out' };
}

function disconnected(room: Room): Room {
  if (!room.joined && !room.loading && room.typing.size === 0) return room;
  return { ...room, joined: false, loading: false, reloading: null, typing: new Map() };
}

export function welcomed(state: State, welcome: Welcome): State {
  return {
    ...state,
    link: { is: 'online' },
    entered: true,
    self: welcome.user,
    node: welcome.node,
    limits: { ...state.limits, ...welcome.limits },
  };
}

/** Another name is another user: rooms stay open, their contents are loaded again. */
export function renamed(state: State, name: string): State {
  return {
    ...state,
    self: name,
    rooms: mapRooms(state.rooms, (room) => ({ ...emptyRoom(room.name), read: room.read })),
  };
}

// Rooms

/** The user opened a room, possibly for the first time. */
export function opened(state: State, name: string): State {
  if (state.active === name && state.rooms.has(name)) return state;
  let next = state;
  const before = state.active === null ? undefined : state.rooms.get(state.active);
  // The divider is removed when the user leaves a room in which everything is read.
  if (before && before.unread === 0) next = withRoom(next, { ...before, firstUnread: null, gap: false });
  const room = next.rooms.get(name) ?? emptyRoom(name);
  // With unread messages the log opens at the divider, and reports whether that is the end.
  return { ...withRoom(next, room), active: name, previous: state.active, pinned: room.unread === 0 };
}

export function closed(state: State, name: string): State {
  if (!state.rooms.has(name)) return state;
  const rooms = new Map(state.rooms);
  rooms.delete(name);
  if (state.active !== name) return { ...state, rooms };
  const next = rooms.get(state.previous ?? '') ?? rooms.values().next().value;
  return { ...state, rooms, active: next?.name ?? null, previous: null, pinned: !next?.unread };
}

/** A join was acknowledged: a first one, or one with `since`. */
export function joined(state: State, name: string, ack: Omit<Joined, 'room'>): State {
  const before = state.rooms.get(name);
  if (!before) return state;
  const position = { epoch: ack.epoch, offset: ack.offset };
  const here = { ...before, joined: true, online: ack.online };
  if (before.position && ack.recovered) {
    const next = withRoom(state, here);
    return update(ack.messages.reduce(received, next), name, (room) => ({ ...room, position }));
  }
  const oldest = ack.messages[0];
  const fresh = withRoom(state, {
    ...here,
    position,
    items: [],
    more: oldest !== undefined && oldest.offset > 1,
    gap: before.position !== null,
    unread: 0,
    firstUnread: null,
  });
  // Own messages that were stored before the connection was lost are in the acknowledgement and leave the outbox.
  const filled = ack.messages.reduce(
    (next, message) => update(next, name, (room) => insertMessage(room, message)),
    fresh,
  );
  return countUnread(filled, name, before.read);
}

/** After a reload of the page: counts the messages since the saved read position. */
function countUnread(state: State, name: string, read: Position | null): State {
  return update(state, name, (room) => {
    if (!read || read.epoch !== room.position?.epoch) return markRead(room);
    const fresh = messages(room).filter((message) => message.offset > read.offset && message.user !== state.self);
    if (fresh.length === 0 || isReading(state, name)) return markRead(room);
    return { ...room, unread: fresh.length, firstUnread: fresh[0]?.id ?? null };
  });
}

// Messages

/** A `message` event arrived. */
export function received(state: State, message: Message): State {
  const before = state.rooms.get(message.room);
  if (!before) return state;
  let room = insertMessage(before, message);
  room = { ...room, position: laterPosition(room.position, message) };
  if (room.reloading) room = { ...room, reloading: [...room.reloading, message] };
  if (room.items === before.items) return withRoom(state, isReading(state, room.name) ? markRead(room) : room);

  const theirs = message.user !== state.self;
  if (room.typing.has(message.user)) room = { ...room, typing: without(room.typing, message.user) };
  if (isReading(state, room.name)) {
    room = markRead(room);
  } else if (theirs) {
    room = { ...room, unread: room.unread + 1, firstUnread: room.unread === 0 ? message.id : room.firstUnread };
  }
  return withRoom(state, trimmed(room, state.active === room.name && !state.pinned));
}

/** Drops the oldest items of a long room; later while the user is scrolled up. */
function trimmed(room: Room, reading: boolean): Room {
  const bound = reading ? MAX_ITEMS * 5 : MAX_ITEMS * 1.2;
  return room.items.length > bound ? { ...room, items: room.items.slice(-MAX_ITEMS), more: true } : room;
}

/** Inserts a message in the order of offsets, unless it is present already. */
function insertMessage(room: Room, message: Message): Room {
  const outbox = room.outbox.some(({ id }) => id === message.id)
    ? room.outbox.filter(({ id }) => id !== message.id)
    : room.outbox;
  if (!isShown(message)) return outbox === room.outbox ? room : { ...room, outbox };
  let at = room.items.length;
  let sorted = false;
  for (let index = at - 1; index >= 0; index--) {
    const item = room.items[index];
    if (item?.is !== 'message') continue;
    const other = item.message;
    if (other.id === message.id || samePosition(other, message))
      return outbox === room.outbox ? room : { ...room, outbox };
    if (sorted) continue;
    if (other.epoch === message.epoch && other.offset > message.offset) at = index;
    else sorted = true;
  }
  const items = [...room.items.slice(0, at), { is: 'message' as const, message }, ...room.items.slice(at)];
  return { ...room, items, outbox };
}

/** Whether this page can draw the kind of a message; others still advance the position. */
function isShown(message: Message): boolean {
  return message.kind === 'text' || message.kind === 'image';
}

// History

export function historyRequested(state: State, name: string): State {
  return update(state, name, (room) => ({ ...room, loading: true }));
}

export function historyFailed(state: State, name: string): State {
  return update(state, name, (room) => ({ ...room, loading: false, reloading: null }));
}

/** Older messages arrived; the server sends them oldest first. */
export function historyLoaded(state: State, name: string, older: readonly Message[], more: boolean): State {
  return update(state, name, (room) => {
    const ids = new Set(messages(room).map((message) => message.id));
    const positions = new Set(messages(room).map(positionKey));
    const added = older
      .filter((message) => isShown(message) && !ids.has(message.id) && !positions.has(positionKey(message)))
      .map((message) => ({ is: 'message' as const, message }));
    return { ...room, loading: false, more, items: added.length ? [...added, ...room.items] : room.items };
  });
}

/** The log cannot fill the gap: messages are collected until the history has been loaded. */
export function resyncStarted(state: State, name: string): State {
  return update(state, name, (room) => ({ ...room, reloading: [], loading: true }));
}

export function resyncLoaded(state: State, name: string, epoch: Epoch, page: readonly Message[], more: boolean): State {
  return update(state, name, (room) => {
    const live = room.reloading ?? [];
    const last = live.at(-1) ?? page.at(-1);
    const empty: Room = { ...room, items: [], more, loading: false, reloading: null, gap: true };
    const filled = [...page, ...live].reduce(insertMessage, empty);
    return { ...filled, position: last ? { epoch: last.epoch, offset: last.offset } : { epoch, offset: 0 } };
  });
}

export function gapDismissed(state: State, name: string): State {
  return update(state, name, (room) => ({ ...room, gap: false }));
}

// Sending

export function queued(state: State, name: string, id: string, text: string, ts: number): State {
  return update(state, name, (room) => ({
    ...room,
    outbox: [...room.outbox, { id, text, ts, failed: null }],
    firstUnread: null,
  }));
}

/** A send was acknowledged. Its `message` event will arrive too, but the check mark need not wait for it. */
export function sent(state: State, name: string, { id, epoch, offset, ts }: Omit<Sent, 'room'>): State {
  return update(state, name, (room) => {
    const mine = room.outbox.find((entry) => entry.id === id);
    if (!mine) return room;
    return insertMessage(room, { room: name, epoch, offset, ts, id, kind: 'text', user: state.self, text: mine.text });
  });
}

export function sendFailed(state: State, name: string, id: string, why: string): State {
  return update(state, name, (room) => ({
    ...room,
    outbox: room.outbox.map((entry) => (entry.id === id ? { ...entry, failed: why } : entry)),
  }));
}

/** Queues a failed message again, at the end, with the same id: the server stores it once. */
export function retried(state: State, name: string, id: string, ts: number): State {
  return update(state, name, (room) => {
    const mine = room.outbox.find((entry) => entry.id === id);
    if (!mine) return room;
    return { ...room, outbox: [...room.outbox.filter((entry) => entry !== mine), { ...mine, ts, failed: null }] };
  });
}

export function discarded(state: State, name: string, id: string): State {
  return update(state, name, (room) => ({ ...room, outbox: room.outbox.filter((entry) => entry.id !== id) }));
}

/** The next message to send. Sending one at a time stores messages in the order in which they were written. */
export function nextToSend(state: State, name: string): Outgoing | undefined {
  const room = state.rooms.get(name);
  return room?.joined ? room.outbox.find((entry) => entry.failed === null) : undefined;
}

// Presence and typing

export function presenceChanged(state: State, news: Presence, ts: number): State {
  return update(state, news.room, (room) => {
    const users = new Set(room.online.users);
    for (const user of news.left) users.delete(user);
    for (const user of news.joined) users.add(user);
    // `presence` of a large room carries no names: then only the count is known.
    const nameless = news.joined.length + news.left.length === 0;
    const online = { count: news.count, users: nameless ? [] : [...users] };
    const joinedOthers = news.joined.filter((user) => user !== state.self);
    const leftOthers = news.left.filter((user) => user !== state.self);
    const typing = news.left.reduce(without, room.typing);
    return { ...room, online, typing, items: presenceNote(room, joinedOthers, leftOthers, ts) };
  });
}

/** Merges joins and leaves with no message in between into one note, in which they cancel each other out. */
function presenceNote(room: Room, came: readonly string[], went: readonly string[], ts: number): readonly Item[] {
  if (came.length + went.length === 0) return room.items;
  const last = room.items.at(-1);
  const before = last?.is === 'presence' ? last : null;
  const joined = new Set(before?.joined);
  const left = new Set(before?.left);
  for (const user of went) if (!joined.delete(user)) left.add(user);
  for (const user of came) if (!left.delete(user)) joined.add(user);
  const rest = before ? room.items.slice(0, -1) : room.items;
  if (joined.size + left.size === 0) return rest;
  const key = before?.key ?? `presence:${ts}:${room.items.length}`;
  return [...rest, { is: 'presence', key, ts, joined: [...joined], left: [...left] }];
}

export function onlineReplaced(state: State, name: string, online: Online): State {
  return update(state, name, (room) => ({ ...room, online }));
}

/** Adds a further page of the list of users. */
export function onlineExtended(state: State, name: string, page: Online): State {
  return update(state, name, (room) => ({
    ...room,
    online: { count: page.count, users: [...new Set([...room.online.users, ...page.users])] },
  }));
}

export function typingChanged(state: State, news: TypingNews, now: number): State {
  if (news.user === state.self) return state;
  return update(state, news.room, (room) => {
    if (!news.typing) return room.typing.has(news.user) ? { ...room, typing: without(room.typing, news.user) } : room;
    return { ...room, typing: new Map(room.typing).set(news.user, now + TYPING_TIMEOUT) };
  });
}

export function typingExpired(state: State, now: number): State {
  const rooms = mapRooms(state.rooms, (room) => {
    const left = [...room.typing].filter(([, until]) => until > now);
    return left.length === room.typing.size ? room : { ...room, typing: new Map(left) };
  });
  return rooms === state.rooms ? state : { ...state, rooms };
}

// Reading

/** The page gained or lost the focus, or its log was scrolled to or from the end. */
export function viewChanged(state: State, change: { focused?: boolean; pinned?: boolean }): State {
  const next = { ...state, ...change };
  if (next.focused === state.focused && next.pinned === state.pinned) return state;
  return next.active !== null && isReading(next, next.active) ? update(next, next.active, markRead) : next;
}

export function totalUnread(state: State): number {
  let sum = 0;
  for (const room of state.rooms.values()) sum += room.unread;
  return sum;
}

export function activeRoom(state: State): Room | null {
  return state.active === null ? null : (state.rooms.get(state.active) ?? null);
}

/** The smallest loaded offset, before which older messages are requested. */
export function oldestOffset(room: Room): number | undefined {
  return messages(room)[0]?.offset;
}

/** The part of the state that is saved across reloads. */
export function toSaved(state: State): Omit<SavedState, 'name'> {
  return { active: state.active, rooms: [...state.rooms.values()].map(({ name, read }) => ({ room: name, read })) };
}

function isReading(state: State, name: string): boolean {
  return state.active === name && state.focused && state.pinned;
}

function markRead(room: Room): Room {
  return room.unread === 0 && room.read === room.position ? room : { ...room, unread: 0, read: room.position };
}

// Helpers

function withRoom(state: State, room: Room): State {
  return { ...state, rooms: new Map(state.rooms).set(room.name, room) };
}

function update(state: State, name: string, change: (room: Room) => Room): State {
  const before = state.rooms.get(name);
  if (!before) return state;
  const after = change(before);
  return after === before ? state : withRoom(state, after);
}

function mapRooms(rooms: ReadonlyMap<string, Room>, change: (room: Room) => Room): ReadonlyMap<string, Room> {
  let changed = false;
  const next = new Map<string, Room>();
  for (const [name, room] of rooms) {
    const after = change(room);
    changed ||= after !== room;
    next.set(name, after);
  }
  return changed ? next : rooms;
}

function messages(room: Room): Message[] {
  return room.items.flatMap((item) => (item.is === 'message' ? [item.message] : []));
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  if (!map.has(key)) return map;
  const next = new Map(map);
  next.delete(key);
  return next;
}

function samePosition(a: Position, b: Position): boolean {
  return a.epoch === b.epoch && a.offset === b.offset;
}

function positionKey({ epoch, offset }: Position): string {
  return `${epoch}/${offset}`;
}

function laterPosition(known: Position | null, { epoch, offset }: Position): Position {
  return known && known.epoch === epoch && known.offset >= offset ? known : { epoch, offset };
}
