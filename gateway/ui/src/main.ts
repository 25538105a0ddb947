// The entry point of the page: loads what is saved, creates the store, the session and the views, and redraws when
// the state changes.

import { badge } from './format.ts';
import * as identity from './identity.ts';
import { createSession } from './session.ts';
import { initial, toSaved, totalUnread, type State } from './state.ts';
import { createStore } from './store.ts';
import { createLogin } from './view/login.ts';
import { createShell } from './view/shell.ts';

const page = document.getElementById('app');
if (!page) throw new Error('index.html has no #app');

const store = createStore(initial(identity.load()), draw);
const actions = createSession(store);
const login = createLogin(actions);
const shell = createShell(actions);

function draw(state: State, before: State | null): void {
  const entered = state.entered;
  const view = entered ? shell : login;
  if (before?.entered !== entered) page?.replaceChildren(view.element);
  if (entered) shell.draw(state, before?.entered ? before : null);
  else login.draw(state);
  if (before?.entered !== entered) {
    if (!entered) login.focus(state.self);
    else if (matchMedia('(pointer: fine)').matches) shell.focus();
  }

  const unread = totalUnread(state);
  const title = entered && state.active !== null ? `#${state.active} · Roomcast` : 'Roomcast';
  document.title = unread ? `(${badge(unread)}) ${title}` : title;
  if (state.rooms !== before?.rooms || state.active !== before.active) saveSoon();
}

let saving: ReturnType<typeof setTimeout> | undefined;
function save(): void {
  clearTimeout(saving);
  saving = undefined;
  identity.saveRooms(toSaved(store.state));
}
function saveSoon(): void {
  saving ??= setTimeout(save, 500);
}
addEventListener('pagehide', save);

const focusChanged = (): void => actions.viewChanged({ focused: !document.hidden && document.hasFocus() });
document.addEventListener('visibilitychange', focusChanged);
addEventListener('focus', focusChanged);
addEventListener('blur', focusChanged);
focusChanged();
