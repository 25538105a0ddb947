// What is saved in localStorage: the user name, the secret that makes all tabs of a browser one user, and the
// open rooms. Called by main.ts and session.ts; no other file uses localStorage.

import type { SavedState } from './state.ts';
import type { Position } from './protocol.ts';

const NAME = 'roomcast.name';
const SECRET = 'roomcast.resume';
const ROOMS = 'roomcast.rooms';

export function load(): SavedState {
  const { active, rooms } = parseRooms(get(ROOMS));
  return { name: get(NAME) ?? '', active, rooms };
}

export function saveName(name: string): void {
  set(NAME, name);
}

export function saveRooms(rooms: Omit<SavedState, 'name'>): void {
  set(ROOMS, JSON.stringify(rooms));
}

let unsaved: string | null = null;

/** 256 random bits, chosen once per browser; equal name and secret are the same user. */
export function secret(): string {
  const known = get(SECRET) ?? unsaved;
  if (known !== null && /^[0-9a-f]{64}$/.test(known)) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  unsaved = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  set(SECRET, unsaved);
  return unsaved;
}

/** A message id, chosen by the client so that a repeated send is stored once. */
export function messageId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function parseRooms(text: string | null): Omit<SavedState, 'name'> {
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

// A browser may forbid storage; name, secret and rooms are then lost when the page is closed.

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
    // ignored: see above
  }
}
