// The chat page: rooms, header, banner, log, composer and people, as columns, or as drawers in narrow
// windows. Drawn by main.ts; passes the state to each view.

import { badge, sortedNames } from '../format.ts';
import type { Actions } from '../session.ts';
import { activeRoom, totalUnread, type Link, type State } from '../state.ts';
import { texts } from '../strings.ts';
import { createComposer } from './composer.ts';
import { el, icon, setText } from './dom.ts';
import { createLog } from './log.ts';
import { createPeople } from './people.ts';
import { createRooms } from './rooms.ts';

type Drawer = 'rooms' | 'people';

export function createShell(actions: Actions) {
  const rooms = createRooms(actions, () => show(null));
  const people = createPeople(actions, () => show(null));
  const log = createLog(actions);
  const composer = createComposer(actions);

  const menuBadge = el('span', { class: 'badge', attrs: { 'aria-hidden': 'true' } });
  const menu = el(
    'button',
    {
      class: 'quiet open-rooms',
      attrs: { type: 'button', 'aria-label': 'Rooms', 'aria-controls': 'rooms', 'aria-expanded': 'false' },
      on: { click: () => show('rooms') },
    },
    icon('menu'),
    menuBadge,
  );
  const titleSign = el('span', {});
  const titleName = el('bdi', {});
  const title = el('h1', { class: 'room-title' }, titleSign, titleName);
  const subtitle = el('p', { class: 'room-subtitle' });
  const peopleCount = el('span', {});
  const who = el(
    'button',
    {
      class: 'quiet open-people',
      attrs: { type: 'button', 'aria-label': 'People', 'aria-controls': 'people', 'aria-expanded': 'false' },
      on: { click: () => show('people') },
    },
    icon('people'),
    peopleCount,
  );
  const leave = el(
    'button',
    {
      class: 'quiet leave',
      testid: 'leave-room',
      attrs: { type: 'button', title: 'Leave this room' },
      on: { click: () => title.dataset['room'] && actions.leaveRoom(title.dataset['room']) },
    },
    icon('leave'),
    el('span', {}, 'Leave'),
  );
  const bannerText = el('span', {});
  const banner = el(
    'div',
    { class: 'banner', testid: 'connection-banner', attrs: { role: 'status' } },
    el('span', { class: 'spinner', attrs: { 'aria-hidden': 'true' } }),
    bannerText,
  );
  const gap = el(
    'div',
    { class: 'gap', testid: 'history-notice' },
    icon('alert'),
    el('span', {}, texts.gap),
    el(
      'button',
      {
        class: 'quiet',
        attrs: { type: 'button', 'aria-label': texts.dismiss, title: texts.dismiss },
        on: { click: () => actions.dismissGap() },
      },
      icon('close'),
    ),
  );
  const typing = el('p', { class: 'typing', testid: 'typing-indicator' });
  const status = el('p', { class: 'status', testid: 'status', attrs: { role: 'status' } });
  const nowhere = el(
    'div',
    { class: 'nowhere' },
    el('p', {}, 'You are in no room. Open one from the list, or make a new one.'),
  );
  const backdrop = el('div', { class: 'backdrop', on: { click: () => show(null) } });

  const main = el(
    'main',
    { class: 'room-view' },
    el('header', { class: 'room-head' }, menu, el('div', { class: 'room-heading' }, title, subtitle), leave, who),
    banner,
    gap,
    log.element,
    nowhere,
    el('div', { class: 'foot' }, el('div', { class: 'foot-line' }, typing, status), composer.element),
  );
  const element = el('div', { class: 'shell' }, rooms.element, main, people.element, backdrop);

  /** The open drawer. Drawers replace columns in narrow windows; a closed one cannot take the focus. */
  let open: Drawer | null = null;
  const narrow = { rooms: matchMedia('(max-width: 639px)'), people: matchMedia('(max-width: 999px)') };

  function show(drawer: Drawer | null): void {
    const before = open;
    open = drawer;
    layout();
    if (drawer) (drawer === 'rooms' ? rooms : people).element.querySelector<HTMLElement>('.drawer-close')?.focus();
    else if (before) (before === 'rooms' ? menu : who).focus();
  }

  function layout(): void {
    for (const [name, side, button] of [
      ['rooms', rooms.element, menu],
      ['people', people.element, who],
    ] as const) {
      const drawer = narrow[name].matches;
      side.classList.toggle('is-open', drawer && open === name);
      side.inert = drawer && open !== name;
      button.setAttribute('aria-expanded', String(drawer && open === name));
    }
    const covered = open !== null && narrow[open].matches;
    backdrop.classList.toggle('is-on', covered);
    main.inert = covered;
  }
  for (const query of Object.values(narrow)) query.addEventListener('change', layout);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && open) show(null);
  });
  layout();

  return {
    element,
    focus: () => composer.focus(),
    draw(state: State, before: State | null) {
      const room = activeRoom(state);
      main.classList.toggle('is-nowhere', !room);
      title.dataset['room'] = room?.name ?? '';
      setText(titleSign, room ? '#' : '');
      setText(titleName, room?.name ?? 'Roomcast');
      setText(subtitle, room?.joined ? texts.online(room.online.count) : '');
      setText(peopleCount, room ? String(room.online.count) : '');
      leave.hidden = !room;
      who.hidden = !room;
      gap.hidden = !room?.gap;

      const unreadElsewhere = totalUnread(state) - (room?.unread ?? 0);
      menuBadge.hidden = unreadElsewhere === 0;
      setText(menuBadge, badge(unreadElsewhere));
      menu.setAttribute('aria-label', unreadElsewhere ? `Rooms, ${texts.unread(unreadElsewhere)}` : 'Rooms');

      setText(bannerText, bannerFor(state.link));
      banner.hidden = bannerFor(state.link) === '';
      banner.classList.toggle('is-first', state.link.is === 'connecting');

      const typers = room ? sortedNames([...room.typing.keys()], '') : [];
      setText(typing, typers.length ? texts.typing(typers) : '');
      setText(status, state.status);

      rooms.draw(state, before);
      people.draw(state, before);
      composer.draw(state, before);
      log.draw(state, before);
      if (before && state.active !== before.active && matchMedia('(pointer: fine)').matches) composer.focus();
    },
  };
}

function bannerFor(link: Link): string {
  switch (link.is) {
    case 'connecting':
      return texts.connecting;
    case 'lost':
      return navigator.onLine ? texts.lost(link.attempt) : texts.offline;
    case 'restarting':
      return texts.restarting;
    case 'waiting':
      return link.why;
    case 'online':
    case 'out':
      return '';
  }
}
