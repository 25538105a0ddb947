// All texts of the page; names in them keep their own direction. Used by session.ts and view/*.ts.

import { isolated } from './format.ts';
import type { Code } from './protocol.ts';

const list = new Intl.ListFormat('en', { type: 'conjunction' });
const number = new Intl.NumberFormat();

/** "ada, bob and 3 others". */
export function people(names: readonly string[], max = 3): string {
  const shown = names.map(isolated);
  if (names.length <= max + 1) return list.format(shown);
  return list.format([...shown.slice(0, max), `${names.length - max} others`]);
}

export const texts = {
  connecting: 'Connecting…',
  lost: (attempt: number) =>
    attempt > 1 ? `Connection lost. Reconnecting, attempt ${attempt}…` : 'Connection lost. Reconnecting…',
  offline: 'You are offline. Reconnecting when the network is back…',
  waiting: 'The server asked us to wait a moment. Trying again…',
  unreachable: 'The server cannot be reached. Trying again…',
  restarting: 'This server is restarting. Moving you to another one…',

  joinedRoom: (names: readonly string[]) => `${people(names)} joined`,
  leftRoom: (names: readonly string[]) => `${people(names)} left`,
  typing: (names: readonly string[]) =>
    names.length > 3
      ? 'Several people are typing…'
      : `${list.format(names.map(isolated))} ${names.length === 1 ? 'is' : 'are'} typing…`,

  online: (count: number) => `${number.format(count)} online`,
  moreOnline: (count: number) => `Show ${number.format(count)} more`,
  unread: (count: number) => `${count} unread`,
  newMessages: (count: number) => (count === 0 ? 'Jump to latest' : `${number.format(count)} new`),
  newDivider: 'New',
  today: 'Today',
  yesterday: 'Yesterday',
  you: 'you',

  loadingHistory: 'Loading earlier messages…',
  loadingRoom: 'Opening the room…',
  startOfRoom: (room: string) => `This is where #${isolated(room)} begins.`,
  earlier: 'Load earlier messages',
  gap: 'Some messages could not be recovered.',
  dismiss: 'Dismiss',

  stored: 'Sent',
  pending: 'Sending…',
  notSent: (why: string) => `Not sent. ${why}`,
  retry: 'Retry',
  discard: 'Discard',
  addImage: 'Send an image',
  sendingImage: 'Sending the image…',
  imageTooLarge: (bytes: number) => `An image may have at most ${number.format(Math.floor(bytes / 1024))} KiB.`,
  noAnswer: 'The server did not answer.',
  tooLong: (over: number) => `${number.format(over)} too long`,
  lengthLeft: (left: number) => `${number.format(left)} left`,
  writeTo: (room: string) => `Message #${isolated(room)}`,
  leftTheRoom: (room: string) => `You left #${isolated(room)}.`,
  announcement: (user: string, text: string) => `${isolated(user)} to everyone: ${isolated(text)}`,
  servedBy: (node: string) => `Served by ${node}`,

  /** A message of the server, as a sentence. */
  sentence: (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.'),

  /** Texts for refused connects, by code; for other codes see `refused`. */
  refusal: {
    username_taken: 'Somebody else uses that name right now. Please choose another one.',
    bad_username: 'That name cannot be used: 1 to 64 characters, not beginning with @.',
    bad_request: 'The server did not understand this page. Reloading it may help.',
    unavailable: 'The chat cannot be reached right now. Trying again…',
  } satisfies Partial<Record<Code, string>> as Readonly<Record<string, string>>,
  refused: (code: string) => `The server refused the connection (${code}).`,
};
