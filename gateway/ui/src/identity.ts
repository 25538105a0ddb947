// Who this browser is: the name, the secret that makes all its tabs one user, and the rooms a
// reload returns to. Called by session.ts; only this file touches localStorage.

import type { Memory } from './state.ts';
import type { Position } from './protocol.ts';

const NAME = 'roomcast.name';
const SECRET = 'roomcast.resume';
const ROOMS = 'roomcast.rooms';

export function recall(): Memory {
  const { active, rooms } = parseRooms(get(ROOMS));
  return { name: get(NAME) ?? '', active, rooms };
}

export function rememberName(name: string): void {
  set(NAME, name);
}

export function rememberRooms(rooms: Omit<Memory, 'name'>): void {
  set(ROOMS, JSON.stringify(rooms));
}

let unsaved: string | null = null;

/** 256 random bits, chosen once per browser: whoever has them and the name is the same user. */
export function secret(): string {
  const known = get(SECRET) ?? unsaved;
  if (known !== null && /^[0-9a-f]{64}$/.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  unsaved = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  set(SECRET, unsaved);
  return unsaved;
}

/** A message's identity, chosen here so that a repeated send is stored once. */
export function messageId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function parseRooms(text: string | null): Omit<Memory, 'name'> {
  const none = { active: null, rooms: [] };
  if (text === null) return none;
  try {
    const value = JSON.parse(text) as { active?: unknown; rooms?: unknown };
    if (!Array.isArray(value.rooms)) return none;
    const rooms = value.rooms.flatMap((entry: { room?: unknown; read?: Position | null }) =>
      typeof entry?.room === 'string' ? [{ room: entry.room, read: entry.read ?? null }] : [],
    );
    return { active: typeof value.active === 'string' ? value.active : null, rooms };
  } catch {
    return none;
  }
}

// A browser may forbid storage altogether; the chat then lives until the page is closed.

function get(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function set(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // nothing to do: see above
  }
}
