// Formatting of times, names, links and counts. Pure. Called by view/*.ts and main.ts.

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const date = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dateAndYear = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' });
const byName = new Intl.Collator(undefined, { sensitivity: 'base', numeric: true });

export const clockTime = (ts: number): string => clock.format(ts);
export const fullTime = (ts: number): string => full.format(ts);

export function dayName(ts: number, now: number, words: { today: string; yesterday: string }): string {
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(ts).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return words.today;
  if (days === 1) return words.yesterday;
  return new Date(ts).getFullYear() === new Date(now).getFullYear() ? date.format(ts) : dateAndYear.format(ts);
}

/**
 * A name in the form in which the server stores it: without characters that are invisible by themselves, in Unicode's
 * normal form C. White space at the ends, which the server refuses, is dropped.
 */
export function canonicalName(typed: string): string {
  return typed.replace(/[\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]/gu, '').normalize('NFC').trim();
}

/**
 * A name or text of a user, to be put into a sentence of the page: its direction does not affect the words around it
 * (U+2068, first strong isolate, to U+2069, pop directional isolate).
 */
export function isolated(text: string): string {
  return `\u2068${text}\u2069`;
}

/** One or two letters for an avatar. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[1]].map((word) => first(word)) : [first(words[0] ?? name)];
  return letters.join('').toLocaleUpperCase();
}

function first(word = ''): string {
  return [...word][0] ?? '';
}

/** The index of a name's colour among `count` colours; stable across pages and days. */
export function tone(name: string, count: number): number {
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % count;
}

export function sortedNames(names: readonly string[], self: string): string[] {
  return [...names].sort((a, b) => Number(b === self) - Number(a === self) || byName.compare(a, b));
}

export type TextPart = { readonly text: string; readonly href: string | null };

/** Splits text into plain text and http(s) links. Views insert both as text nodes only. */
export function splitLinks(text: string): TextPart[] {
  const out: TextPart[] = [];
  let end = 0;
  for (const found of text.matchAll(/\bhttps?:\/\/[^\s<>"']+/giu)) {
    const link = found[0].replace(/[.,;:!?)\]}]+$/u, '');
    if (!isUrl(link)) continue;
    if (found.index > end) out.push({ text: text.slice(end, found.index), href: null });
    out.push({ text: link, href: link });
    end = found.index + link.length;
  }
  if (end < text.length) out.push({ text: text.slice(end), href: null });
  return out;
}

function isUrl(text: string): boolean {
  try {
    return new URL(text).host !== '';
  } catch {
    return false;
  }
}

export function badge(count: number): string {
  return count > 99 ? '99+' : String(count);
}
