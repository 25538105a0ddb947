// All that the page knows, and every way in which it can change: pure functions from one State to
// the next, no DOM, no clock, no network. session.ts applies them; view/*.ts draws the result.

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

/** How we stand with the cluster. */
export type Link =
  | { readonly is: 'out'; readonly error: string }
  | { readonly is: 'connecting' }
  | { readonly is: 'online' }
  | { readonly is: 'lost'; readonly attempt: number }
  | { readonly is: 'restarting' }
  | { readonly is: 'waiting'; readonly why: string };

/** A stored message, or a note about who came and went since the one before it. */
export type Item =
  | { readonly is: 'message'; readonly message: Message }
  | {
      readonly is: 'presence';
      readonly key: string;
      readonly ts: number;
      readonly joined: readonly string[];
      readonly left: readonly string[];
    };

/** A message of ours that no log has confirmed yet. */
export interface Outgoing {
  readonly id: string;
  readonly text: string;
  readonly ts: number;
  /** Why it was refused; null while it waits for its turn or its acknowledgement. */
  readonly failed: string | null;
}

export interface Room {
  readonly name: string;
  /** True between a join's acknowledgement and the loss of that connection. */
  readonly joined: boolean;
  /** Up to here nothing is missing. Only the stream moves it, never the acknowledgement of a send. */
  readonly position: Position | null;
  readonly items: readonly Item[];
  readonly outbox: readonly Outgoing[];
  /** May there be messages older than items[0]? */
  readonly more: boolean;
  readonly loading: boolean;
  /** Messages streamed while a resync reloads the history; null when none is running. */
  readonly reloading: readonly Message[] | null;
  /** Some messages could not be recovered, and nobody has dismissed the note yet. */
  readonly gap: boolean;
  readonly online: Online;
  /** Who is typing, and until when we believe it. */
  readonly typing: ReadonlyMap<string, number>;
  readonly unread: number;
  /** Id of the first message nobody has looked at: the "new" divider stands before it. */
  readonly firstUnread: string | null;
  /** Where the person stopped reading. */
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
  /** The room in view before this one. */
  readonly previous: string | null;
  readonly directory: readonly RoomCount[];
  /** The page is in front of somebody. */
  readonly focused: boolean;
  /** The active room's log stands at its end. */
  readonly pinned: boolean;
  /** One sentence for the status line, or nothing. */
  readonly status: string;
}

/** What a page that was here before remembers. */
export interface Memory {
  readonly name: string;
  readonly active: string | null;
  readonly rooms: readonly { readonly room: string; readonly read: Position | null }[];
}

/** Lines kept of a room; older ones come back from the history. */
export const KEPT = 1000;
/** A typing note dies after this long without news, in milliseconds. */
export const TYPING_LASTS = 5000;

/** Until a welcome says better. */
const LIMITS: Limits = { max_text: 16_384, max_name: 64, max_room: 128, max_rooms: 256, max_page: 200 };

export function initial(memory: Memory): State {
  const rooms = new Map<string, Room>();
  for (const { room, read } of memory.rooms) rooms.set(room, { ...emptyRoom(room), read });
  const active = memory.active !== null && rooms.has(memory.active) ? memory.active : null;
  return {
    link: memory.name ? { is: 'connecting' } : { is: 'out', error: '' },
    entered: memory.name !== '',
    self: memory.name,
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

export function linked(state: State, link: Link): State {
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

/** Another name is another person: rooms stay open, what was in them is fetched anew. */
export function renamed(state: State, name: string): State {
  return {
    ...state,
    self: name,
    rooms: mapRooms(state.rooms, (room) => ({ ...emptyRoom(room.name), read: room.read })),
  };
}

// Rooms

/** The person looks at a room, perhaps for the first time. */
export function opened(state: State, name: string): State {
  if (state.active === name && state.rooms.has(name)) return state;
  let next = state;
  const before = state.active === null ? undefined : state.rooms.get(state.active);
  // A divider has done its work once its room was left with everything read.
  if (before && before.unread === 0) next = put(next, { ...before, firstUnread: null, gap: false });
  const room = next.rooms.get(name) ?? emptyRoom(name);
  // With something unread the log opens there, and says itself whether that is the end.
  return { ...put(next, room), active: name, previous: state.active, pinned: room.unread === 0 };
}

export function closed(state: State, name: string): State {
  if (!state.rooms.has(name)) return state;
  const rooms = new Map(state.rooms);
  rooms.delete(name);
  if (state.active !== name) return { ...state, rooms };
  const next = rooms.get(state.previous ?? '') ?? rooms.values().next().value;
  return { ...state, rooms, active: next?.name ?? null, previous: null, pinned: !next?.unread };
}

/** A join was acknowledged: the first one, or one that came back with a position. */
export function joined(state: State, name: string, ack: Omit<Joined, 'room'>): State {
  const before = state.rooms.get(name);
  if (!before) return state;
  const position = { epoch: ack.epoch, offset: ack.offset };
  const here = { ...before, joined: true, online: ack.online };
  if (before.position && ack.recovered) {
    const next = put(state, here);
    return update(ack.messages.reduce(received, next), name, (room) => ({ ...room, position }));
  }
  const oldest = ack.messages[0];
  const fresh = put(state, {
    ...here,
    position,
    items: [],
    more: oldest !== undefined && oldest.offset > 1,
    gap: before.position !== null,
    unread: 0,
    firstUnread: null,
  });
  // Own messages that the lost connection did store are in the answer and leave the outbox.
  const filled = ack.messages.reduce((next, message) => update(next, name, (room) => include(room, message)), fresh);
  return countUnread(filled, name, before.read);
}

/** After a reload of the page: what came since the person last read here. */
function countUnread(state: State, name: string, read: Position | null): State {
  return update(state, name, (room) => {
    if (!read || read.epoch !== room.position?.epoch) return readUpToHere(room);
    const fresh = messages(room).filter((message) => message.offset > read.offset && message.user !== state.self);
    if (fresh.length === 0 || watching(state, name)) return readUpToHere(room);
    return { ...room, unread: fresh.length, firstUnread: fresh[0]?.id ?? null };
  });
}

// Messages

/** One message of the stream. */
export function received(state: State, message: Message): State {
  const before = state.rooms.get(message.room);
  if (!before) return state;
  let room = include(before, message);
  room = { ...room, position: furthest(room.position, message) };
  if (room.reloading) room = { ...room, reloading: [...room.reloading, message] };
  if (room.items === before.items) return put(state, watching(state, room.name) ? readUpToHere(room) : room);

  const theirs = message.user !== state.self;
  if (room.typing.has(message.user)) room = { ...room, typing: without(room.typing, message.user) };
  if (watching(state, room.name)) {
    room = readUpToHere(room);
  } else if (theirs) {
    room = { ...room, unread: room.unread + 1, firstUnread: room.unread === 0 ? message.id : room.firstUnread };
  }
  return put(state, trimmed(room, state.active === room.name && !state.pinned));
}

/** Forgets the oldest lines in good time, later where somebody reads among them. */
function trimmed(room: Room, reading: boolean): Room {
  const bound = reading ? KEPT * 5 : KEPT * 1.2;
  return room.items.length > bound ? { ...room, items: room.items.slice(-KEPT), more: true } : room;
}

/** Puts a message where its offset belongs, unless it is there already. */
function include(room: Room, message: Message): Room {
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

/** Kinds this page can draw; later ones still move the position. */
function isShown(message: Message): boolean {
  return message.kind === 'text';
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
    const places = new Set(messages(room).map(place));
    const added = older
      .filter((message) => isShown(message) && !ids.has(message.id) && !places.has(place(message)))
      .map((message) => ({ is: 'message' as const, message }));
    return { ...room, loading: false, more, items: added.length ? [...added, ...room.items] : room.items };
  });
}

/** The log cannot fill our gap: from here on the stream is collected until the history is there. */
export function resyncStarted(state: State, name: string): State {
  return update(state, name, (room) => ({ ...room, reloading: [], loading: true }));
}

export function resyncLoaded(state: State, name: string, epoch: Epoch, page: readonly Message[], more: boolean): State {
  return update(state, name, (room) => {
    const live = room.reloading ?? [];
    const last = live.at(-1) ?? page.at(-1);
    const empty: Room = { ...room, items: [], more, loading: false, reloading: null, gap: true };
    const filled = [...page, ...live].reduce(include, empty);
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

/** The log has it. The stream will bring it too, but the tick need not wait for that. */
export function sent(state: State, name: string, { id, epoch, offset, ts }: Omit<Sent, 'room'>): State {
  return update(state, name, (room) => {
    const mine = room.outbox.find((entry) => entry.id === id);
    if (!mine) return room;
    return include(room, { room: name, epoch, offset, ts, id, kind: 'text', user: state.self, text: mine.text });
  });
}

export function sendFailed(state: State, name: string, id: string, why: string): State {
  return update(state, name, (room) => ({
    ...room,
    outbox: room.outbox.map((entry) => (entry.id === id ? { ...entry, failed: why } : entry)),
  }));
}

/** Back to the end of the queue, under the same id: stored once however often it is sent. */
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

/** The next message to send: one at a time, so that they are stored in the order they were written. */
export function nextToSend(state: State, name: string): Outgoing | undefined {
  const room = state.rooms.get(name);
  return room?.joined ? room.outbox.find((entry) => entry.failed === null) : undefined;
}

// Who is here

export function presenceChanged(state: State, news: Presence, ts: number): State {
  return update(state, news.room, (room) => {
    const users = new Set(room.online.users);
    for (const user of news.left) users.delete(user);
    for (const user of news.joined) users.add(user);
    // A large room's news carries no names: then only the number can be trusted.
    const nameless = news.joined.length + news.left.length === 0;
    const online = { count: news.count, users: nameless ? [] : [...users] };
    const joinedOthers = news.joined.filter((user) => user !== state.self);
    const leftOthers = news.left.filter((user) => user !== state.self);
    const typing = news.left.reduce(without, room.typing);
    return { ...room, online, typing, items: note(room, joinedOthers, leftOthers, ts) };
  });
}

/** Comings and goings with nothing said in between are one line, and cancel each other out. */
function note(room: Room, came: readonly string[], went: readonly string[], ts: number): readonly Item[] {
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

/** A further page of a list too long for one. */
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
    return { ...room, typing: new Map(room.typing).set(news.user, now + TYPING_LASTS) };
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

/** The page came to the front or left it, or its log was scrolled to or from the end. */
export function looked(state: State, change: { focused?: boolean; pinned?: boolean }): State {
  const next = { ...state, ...change };
  if (next.focused === state.focused && next.pinned === state.pinned) return state;
  return next.active !== null && watching(next, next.active) ? update(next, next.active, readUpToHere) : next;
}

export function totalUnread(state: State): number {
  let sum = 0;
  for (const room of state.rooms.values()) sum += room.unread;
  return sum;
}

export function activeRoom(state: State): Room | null {
  return state.active === null ? null : (state.rooms.get(state.active) ?? null);
}

/** The smallest offset on the page: what is older is asked for by it. */
export function oldestOffset(room: Room): number | undefined {
  return messages(room)[0]?.offset;
}

/** What a reload of the page should still know. */
export function remembered(state: State): Omit<Memory, 'name'> {
  return { active: state.active, rooms: [...state.rooms.values()].map(({ name, read }) => ({ room: name, read })) };
}

function watching(state: State, name: string): boolean {
  return state.active === name && state.focused && state.pinned;
}

function readUpToHere(room: Room): Room {
  return room.unread === 0 && room.read === room.position ? room : { ...room, unread: 0, read: room.position };
}

// Small tools

function put(state: State, room: Room): State {
  return { ...state, rooms: new Map(state.rooms).set(room.name, room) };
}

function update(state: State, name: string, change: (room: Room) => Room): State {
  const before = state.rooms.get(name);
  if (!before) return state;
  const after = change(before);
  return after === before ? state : put(state, after);
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

function place({ epoch, offset }: Position): string {
  return `${epoch}/${offset}`;
}

function furthest(known: Position | null, { epoch, offset }: Position): Position {
  return known && known.epoch === epoch && known.offset >= offset ? known : { epoch, offset };
}
