// The right column: users online in the active room. Drawn by view/shell.ts; calls Actions.loadMoreUsers if the list
// has more pages.

import { sortedNames } from '../format.ts';
import type { Actions } from '../session.ts';
import { activeRoom, type State } from '../state.ts';
import { texts } from '../strings.ts';
import { avatar } from './avatar.ts';
import { arrange, el, icon, Keyed, setText } from './dom.ts';

export function createPeople(actions: Actions, close: () => void) {
  const people = new Keyed<{ name: string; own: boolean }, HTMLLIElement>(
    ({ name, own }) =>
      el(
        'li',
        { class: 'person', attrs: { 'data-user': name } },
        avatar(name),
        el('bdi', { class: 'person-name' }, name),
        own && el('span', { class: 'person-you' }, texts.you),
      ),
    () => {},
  );
  const title = el('h2', { class: 'side-title', attrs: { id: 'people-title' } });
  const list = el('ul', { class: 'people-list', testid: 'online-list', attrs: { 'aria-labelledby': 'people-title' } });
  const more = el('button', { class: 'link', attrs: { type: 'button' }, on: { click: () => actions.loadMoreUsers() } });
  const element = el(
    'aside',
    { class: 'side people', attrs: { id: 'people', 'aria-label': 'People' } },
    el(
      'div',
      { class: 'side-head' },
      title,
      el(
        'button',
        { class: 'quiet drawer-close', attrs: { type: 'button', 'aria-label': 'Close' }, on: { click: close } },
        icon('close'),
      ),
    ),
    el('div', { class: 'side-body' }, list, more),
  );

  return {
    element,
    draw(state: State, before: State | null) {
      const room = activeRoom(state);
      const online = room?.online;
      if (before && online === activeRoom(before)?.online && state.self === before.self) return;
      const names = sortedNames(online?.users ?? [], state.self);
      arrange(
        list,
        people.list(
          names.map((name) => ({ name, own: name === state.self })),
          ({ name, own }) => `${own}:${name}`,
        ),
      );
      setText(title, texts.online(online?.count ?? 0));
      const missing = (online?.count ?? 0) - names.length;
      more.hidden = missing <= 0;
      setText(more, missing > 0 ? texts.moreOnline(missing) : '');
    },
  };
}
