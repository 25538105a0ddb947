// Turns a room into the rows of its log: day separators, the "new" divider, presence notes, and messages
// grouped by author. Pure; called by view/log.ts.

import type { Image } from './protocol.ts';
import type { Item, Outgoing } from './state.ts';

export type Row =
  | { readonly is: 'day'; readonly key: string; readonly ts: number }
  | { readonly is: 'divider'; readonly key: string }
  | {
      readonly is: 'presence';
      readonly key: string;
      readonly joined: readonly string[];
      readonly left: readonly string[];
    }
  | MessageRow;

export interface MessageRow {
  readonly is: 'message';
  readonly key: string;
  readonly id: string;
  readonly offset: number | null;
  readonly user: string;
  readonly text: string;
  /** The image of a message of that kind, with what it shows. */
  readonly image: (Image & { readonly alt: string }) | null;
  readonly ts: number;
  /** The first row of a group, which shows author and time. */
  readonly head: boolean;
  readonly own: boolean;
  readonly delivery: 'stored' | 'pending' | 'failed';
  readonly failure: string;
}

/** Messages of one author within this time are a group, in milliseconds. */
const GROUP_SPAN = 5 * 60_000;

export interface Source {
  readonly items: readonly Item[];
  readonly outbox: readonly Outgoing[];
  readonly firstUnread: string | null;
}

export function rows({ items, outbox, firstUnread }: Source, self: string): Row[] {
  const out: Row[] = [];
  let day = -Infinity;
  let group: { user: string; ts: number } | null = null;

  const push = (message: Omit<MessageRow, 'is' | 'key' | 'head' | 'own'>): void => {
    const today = startOfDay(message.ts);
    if (today > day) {
      out.push({ is: 'day', key: `day:${today}`, ts: message.ts });
      day = today;
      group = null;
    }
    if (message.id === firstUnread) {
      out.push({ is: 'divider', key: 'divider' });
      group = null;
    }
    const head = group === null || group.user !== message.user || message.ts - group.ts > GROUP_SPAN;
    if (head) group = { user: message.user, ts: message.ts };
    out.push({ is: 'message', key: `m:${message.id}`, head, own: message.user === self, ...message });
  };

  for (const item of items) {
    if (item.is === 'presence') {
      out.push({ is: 'presence', key: item.key, joined: item.joined, left: item.left });
      group = null;
    } else {
      const { id, offset, user, text = '', image, alt = '', ts } = item.message;
      push({ id, offset, user, text, image: image ? { ...image, alt } : null, ts, delivery: 'stored', failure: '' });
    }
  }
  for (const { id, text, ts, failed } of outbox) {
    push({
      id,
      offset: null,
      user: self,
      text,
      image: null,
      ts,
      delivery: failed === null ? 'pending' : 'failed',
      failure: failed ?? '',
    });
  }
  return out;
}

function startOfDay(ts: number): number {
  return new Date(ts).setHours(0, 0, 0, 0);
}
