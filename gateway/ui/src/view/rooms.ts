// The left column: joined rooms with their unread counts, other rooms to open, the user and the node that serves
// it. Drawn by view/shell.ts; calls Actions.openRoom and signOut.

import { badge, sortedNames } from '../format.ts';
import type { Actions } from '../session.ts';
import type { State } from '../state.ts';
import { texts } from '../strings.ts';
import { avatar } from './avatar.ts';
import { append, arrange, el, icon, Keyed, logo, setText } from './dom.ts';

interface Entry {
  readonly name: string;
  readonly joined: boolean;
  readonly active: boolean;
  readonly unread: number;
  readonly count: number | null;
}

export function createRooms(actions: Actions, close: () => void) {
  const open = (name: string): void => {
    actions.openRoom(name);
    close();
  };

  const items = new Keyed<Entry, HTMLLIElement>(
    ({ name }) => {
      const button = el('button', {
        class: 'room',
        testid: 'room-item',
        attrs: { type: 'button', 'data-room': name },
        on: { click: () => open(name) },
      });
      append(button, [
        el('span', { class: 'hash', attrs: { 'aria-hidden': 'true' } }, '#'),
        el('bdi', { class: 'room-name' }, name),
        el('span', { class: 'room-tail' }),
      ]);
      return el('li', {}, button);
    },
    (element, entry) => {
      const button = element.firstElementChild as HTMLButtonElement;
      button.className = `room${entry.active ? ' is-active' : ''}${entry.unread ? ' has-unread' : ''}`;
      if (entry.active) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
      const tail = button.lastElementChild as HTMLElement;
      const sign = `${entry.unread}/${entry.count}`;
      if (tail.dataset['sign'] === sign) return;
      tail.dataset['sign'] = sign;
      tail.replaceChildren();
      if (entry.unread) {
        tail.append(
          el('span', { class: 'badge', testid: 'unread-badge', attrs: { 'aria-hidden': 'true' } }, badge(entry.unread)),
          el('span', { class: 'sr' }, texts.unread(entry.unread)),
        );
      } else if (entry.count) {
        tail.append(
          el(
            'span',
            { class: 'room-count', attrs: { title: texts.online(entry.count), 'aria-hidden': 'true' } },
            String(entry.count),
          ),
          el('span', { class: 'sr' }, texts.online(entry.count)),
        );
      }
    },
  );

  const yours = el('ul', { class: 'room-list' });
  const others = el('ul', { class: 'room-list' });
  const yoursTitle = el('h2', { class: 'side-title' }, 'Your rooms');
  const othersTitle = el('h2', { class: 'side-title' }, 'More rooms');

  const input = el('input', {
    testid: 'new-room-input',
    attrs: {
      id: 'new-room',
      type: 'text',
      dir: 'auto',
      autocomplete: 'off',
      autocapitalize: 'off',
      spellcheck: 'false',
      placeholder: 'Open a room',
      enterkeyhint: 'go',
      'aria-label': 'Name of a room to open',
    },
  });
  const form = el(
    'form',
    {
      class: 'new-room',
      on: {
        submit: (event) => {
          event.preventDefault();
          if (!input.value.trim()) return;
          open(input.value);
          input.value = '';
        },
      },
    },
    input,
    el(
      'button',
      { class: 'quiet', attrs: { type: 'submit', 'aria-label': 'Open this room', title: 'Open this room' } },
      icon('plus'),
    ),
  );

  const face = el('span', { class: 'face' });
  const self = el('strong', { class: 'me-name', attrs: { dir: 'auto' } });
  const nodeName = el('span', { class: 'node-name', testid: 'node-badge' });
  const nodeMore = el('span', { class: 'node-more' });
  const dot = el('span', { class: 'dot', attrs: { 'aria-hidden': 'true' } });
  const node = el('div', { class: 'node' }, el('p', {}, dot, nodeName), nodeMore);

  const element = el(
    'aside',
    { class: 'side rooms', attrs: { id: 'rooms', 'aria-label': 'Rooms' } },
    el(
      'div',
      { class: 'side-head' },
      logo(),
      el('span', { class: 'brand' }, 'Roomcast'),
      el(
        'button',
        { class: 'quiet drawer-close', attrs: { type: 'button', 'aria-label': 'Close' }, on: { click: close } },
        icon('close'),
      ),
    ),
    el(
      'nav',
      { class: 'side-body', testid: 'room-list', attrs: { 'aria-label': 'Rooms' } },
      yoursTitle,
      yours,
      othersTitle,
      others,
    ),
    form,
    el(
      'div',
      { class: 'me' },
      face,
      el('div', { class: 'me-text' }, self, node),
      el(
        'button',
        {
          class: 'quiet',
          attrs: { type: 'button', 'aria-label': 'Change name', title: 'Change name' },
          on: { click: () => actions.signOut() },
        },
        icon('pencil'),
      ),
    ),
  );

  return {
    element,
    draw(state: State, before: State | null) {
      if (state.rooms !== before?.rooms || state.directory !== before.directory || state.active !== before.active) {
        const counts = new Map(state.directory.map(({ room, count }) => [room, count]));
        const mine: Entry[] = sortedNames([...state.rooms.keys()], '').map((name) => {
          const room = state.rooms.get(name);
          const count = room?.joined ? room.online.count : (counts.get(name) ?? null);
          return { name, joined: true, active: name === state.active, unread: room?.unread ?? 0, count };
        });
        const more: Entry[] = [...state.directory]
          .filter(({ room }) => !state.rooms.has(room))
          .sort((a, b) => b.count - a.count || a.room.localeCompare(b.room))
          .map(({ room, count }) => ({ name: room, joined: false, active: false, unread: 0, count }));
        const drawn = items.list([...mine, ...more], ({ name }) => name);
        arrange(yours, drawn.slice(0, mine.length));
        arrange(others, drawn.slice(mine.length));
        yoursTitle.hidden = mine.length === 0;
        othersTitle.hidden = more.length === 0;
      }
      if (state.self !== before?.self) {
        setText(self, state.self);
        face.replaceChildren(avatar(state.self));
      }
      setText(nodeName, state.node || '…');
      nodeName.title = texts.servedBy(state.node);
      const more = [state.transport, state.latency === null ? '' : `${state.latency} ms`].filter(Boolean);
      setText(nodeMore, state.link.is === 'online' ? more.join(' · ') : '');
      node.classList.toggle('is-off', state.link.is !== 'online');
      input.maxLength = state.limits.max_room + 1;
    },
  };
}
