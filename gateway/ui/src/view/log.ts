// The messages of the active room: rows from timeline.ts, reused by key. Stays at the end while the end is visible, and
// keeps its scroll position while older messages load above. Calls Actions.viewChanged, loadOlder, retry.

import { clockTime, dayName, fullTime, splitLinks } from '../format.ts';
import type { Actions } from '../session.ts';
import { activeRoom, type Room, type State } from '../state.ts';
import { texts } from '../strings.ts';
import { rows, type MessageRow, type Row } from '../timeline.ts';
import { avatar } from './avatar.ts';
import { arrange, el, icon, Keyed, setText } from './dom.ts';

/** Distance from the end that still counts as the end, in pixels. */
const NEAR_END = 60;
/** Distance from the top at which older messages are loaded, in pixels. */
const NEAR_TOP = 300;

export function createLog(actions: Actions) {
  let keyedRows = makeRows(actions);
  let pinned = true;

  const top = el('div', { class: 'log-top' });
  const topText = el('p', {});
  const older = el(
    'button',
    { class: 'link', attrs: { type: 'button' }, on: { click: () => actions.loadOlder() } },
    texts.earlier,
  );
  top.append(topText, older);
  const list = el('div', { class: 'log-rows' });
  const scroller = el(
    'div',
    {
      class: 'log',
      testid: 'message-log',
      attrs: { role: 'log', 'aria-live': 'polite', 'aria-relevant': 'additions', tabindex: '0' },
    },
    top,
    list,
  );
  const pillText = el('span', {});
  const pill = el(
    'button',
    { class: 'pill', attrs: { type: 'button' }, on: { click: () => toEnd(true) } },
    icon('down'),
    pillText,
  );
  const element = el('div', { class: 'log-box' }, scroller, pill);

  const atEnd = (): boolean => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= NEAR_END;

  function toEnd(smoothly = false): void {
    const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)').matches;
    scroller.scrollTo({ top: scroller.scrollHeight, behavior: smoothly && !reducedMotion ? 'smooth' : 'instant' });
  }

  scroller.addEventListener(
    'scroll',
    () => {
      pinned = atEnd();
      actions.viewChanged({ pinned });
      if (scroller.scrollTop < NEAR_TOP) actions.loadOlder();
    },
    { passive: true },
  );
  new ResizeObserver(() => pinned && toEnd()).observe(scroller);

  return {
    element,
    draw(state: State, before: State | null) {
      const room = activeRoom(state);
      const previous = before && activeRoom(before);
      drawPill(state, room);
      if (!room) {
        list.replaceChildren();
        return;
      }
      const switched = room.name !== previous?.name;
      const same =
        !switched &&
        room.items === previous.items &&
        room.outbox === previous.outbox &&
        state.self === before?.self &&
        room.firstUnread === previous.firstUnread;
      drawTop(room);
      if (same) return;

      if (switched) keyedRows = makeRows(actions);
      // Screen readers announce new messages only, not a loaded history.
      const live = !switched && room.items[0] === previous.items[0] && previous.items.length > 0;
      scroller.setAttribute('aria-live', live ? 'polite' : 'off');
      scroller.setAttribute('aria-label', `#${room.name}`);

      const wrote = !switched && room.outbox.length > previous.outbox.length;
      const anchor = pinned || switched ? null : findAnchor();
      arrange(
        list,
        keyedRows.list(rows(room, state.self), ({ key }) => key),
      );

      const divider = keyedRows.get('divider');
      if (wrote || (!switched && pinned)) toEnd();
      else if (switched && divider) scroller.scrollTop = divider.offsetTop - scroller.clientHeight / 4;
      else if (switched) toEnd();
      else if (anchor?.row.isConnected) shift(anchor.row.getBoundingClientRect().top - anchor.at);
      pinned = atEnd();
      actions.viewChanged({ pinned });
      if (scroller.scrollTop < NEAR_TOP) actions.loadOlder();
      setTimeout(() => scroller.setAttribute('aria-live', 'polite'), 500);
    },
  };

  /** Does nothing if nothing moved: any assignment would interrupt a smooth scroll. */
  function shift(by: number): void {
    if (by !== 0) scroller.scrollTop += by;
  }

  /** The first visible message, whose position on the screen is kept across the change. */
  function findAnchor(): { row: Element; at: number } | null {
    const edge = scroller.getBoundingClientRect().top;
    for (const row of list.children) {
      const { top: at, bottom } = row.getBoundingClientRect();
      if (bottom > edge && row.classList.contains('message')) return { row, at };
    }
    return null;
  }

  function drawPill(state: State, room: Room | null): void {
    pill.hidden = state.pinned || !room;
    const count = room?.unread ?? 0;
    pill.classList.toggle('has-new', count > 0);
    setText(pillText, texts.newMessages(count));
  }

  function drawTop(room: Room): void {
    const empty = room.items.length === 0;
    const text =
      !room.joined && room.position === null
        ? texts.loadingRoom
        : room.loading
          ? texts.loadingHistory
          : room.more
            ? ''
            : texts.startOfRoom(room.name);
    setText(topText, text);
    top.classList.toggle('is-empty', empty);
    older.hidden = !room.more || room.loading;
  }
}

function makeRows(actions: Actions): Keyed<Row, HTMLElement> {
  return new Keyed<Row, HTMLElement>(
    (row) => {
      if (row.is === 'message') return makeMessage(row);
      if (row.is === 'day') {
        const words = { today: texts.today, yesterday: texts.yesterday };
        return el('div', { class: 'day' }, el('span', {}, dayName(row.ts, Date.now(), words)));
      }
      if (row.is === 'divider') return el('div', { class: 'divider' }, el('span', {}, texts.newDivider));
      return el('div', { class: 'note', testid: 'presence-note' });
    },
    (element, row) => {
      if (row.is === 'message') drawMessage(element, row, actions);
      if (row.is === 'presence') setText(element, presenceText(row));
    },
  );
}

function presenceText({ joined, left }: { joined: readonly string[]; left: readonly string[] }): string {
  const parts = [joined.length ? texts.joinedRoom(joined) : '', left.length ? texts.leftRoom(left) : ''];
  return parts.filter(Boolean).join(' · ');
}

function makeImage({ url, width, height, alt }: NonNullable<MessageRow['image']>): HTMLElement {
  // Its size is known before it is loaded, so that the log does not move.
  const image = el('img', {
    class: 'image',
    attrs: { src: url, alt, width: String(width), height: String(height), loading: 'lazy', referrerpolicy: 'no-referrer' },
  });
  return el('a', { attrs: { href: url, target: '_blank', rel: 'noopener noreferrer' } }, image);
}

function makeMessage({ id, user, text, image }: MessageRow): HTMLElement {
  const body = el('div', { class: 'text', attrs: { dir: 'auto' } });
  if (image) body.append(makeImage(image));
  for (const part of splitLinks(text)) {
    body.append(
      part.href === null
        ? part.text
        : el('a', { attrs: { href: part.href, target: '_blank', rel: 'noopener noreferrer nofollow' } }, part.text),
    );
  }
  return el(
    'div',
    { class: 'message', testid: 'message', attrs: { 'data-id': id, 'data-user': user } },
    el('div', { class: 'gutter' }, avatar(user)),
    el(
      'div',
      { class: 'content' },
      el('div', { class: 'meta' }, el('bdi', { class: 'author' }, user), el('time', {})),
      el('div', { class: 'line' }, body, el('span', { class: 'delivery' })),
    ),
  );
}

function drawMessage(element: HTMLElement, row: MessageRow, actions: Actions): void {
  const sign = `${row.head} ${row.own} ${row.delivery} ${row.offset} ${row.ts} ${row.failure}`;
  if (element.dataset['sign'] === sign) return;
  element.dataset['sign'] = sign;
  element.className = `message is-${row.delivery}${row.head ? ' is-head' : ''}${row.own ? ' is-own' : ''}`;
  if (row.offset !== null) element.dataset['offset'] = String(row.offset);
  element.dataset['delivery'] = row.delivery;

  const time = element.querySelector('time');
  if (time) {
    time.dateTime = new Date(row.ts).toISOString();
    time.title = fullTime(row.ts);
    setText(time, clockTime(row.ts));
  }
  const delivery = element.querySelector('.delivery');
  if (delivery && row.own) {
    const label = row.delivery === 'stored' ? texts.stored : row.delivery === 'pending' ? texts.pending : '';
    const sign = row.delivery === 'failed' ? 'alert' : row.delivery === 'pending' ? 'clock' : 'check';
    delivery.replaceChildren(icon(sign), el('span', { class: 'sr' }, label));
    delivery.setAttribute('title', label);
  }
  element.querySelector('.failure')?.remove();
  if (row.delivery === 'failed') {
    const act = (text: string, run: (id: string) => void): HTMLElement =>
      el('button', { class: 'link', attrs: { type: 'button' }, on: { click: () => run(row.id) } }, text);
    element
      .querySelector('.content')
      ?.append(
        el(
          'div',
          { class: 'failure' },
          el('span', {}, texts.notSent(row.failure)),
          act(texts.retry, actions.retry),
          act(texts.discard, actions.discard),
        ),
      );
  }
}
