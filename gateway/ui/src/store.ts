// Holds the State and calls `draw` after changes, at most once per frame. Created by main.ts, changed by session.ts.

import type { State } from './state.ts';

export interface Store {
  readonly state: State;
  apply(change: (state: State) => State): void;
}

export function createStore(first: State, draw: (state: State, before: State | null) => void): Store {
  let state = first;
  let drawn: State | null = null;
  let scheduled = false;

  const flush = (): void => {
    scheduled = false;
    const before = drawn;
    drawn = state;
    draw(state, before);
  };
  // A hidden page gets no animation frames, but its title still shows the unread count.
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    if (document.hidden) setTimeout(flush, 50);
    else requestAnimationFrame(() => scheduled && flush());
  };
  // A frame requested just before the page was hidden would never be delivered.
  document.addEventListener(
    'visibilitychange',
    () => scheduled && document.hidden && setTimeout(() => scheduled && flush(), 0),
  );

  schedule();
  return {
    get state() {
      return state;
    },
    apply(change) {
      const next = change(state);
      if (next === state) return;
      state = next;
      schedule();
    },
  };
}
