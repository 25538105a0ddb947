// Holds the one State and tells those who draw it that it changed, at most once a frame.
// Made by main.ts; session.ts applies changes, main.ts draws.

import type { State } from './state.ts';

export interface Store {
  readonly state: State;
  apply(change: (state: State) => State): void;
}

export function createStore(first: State, draw: (state: State, before: State | null) => void): Store {
  let state = first;
  let drawn: State | null = null;
  let asked = false;

  const flush = (): void => {
    asked = false;
    const before = drawn;
    drawn = state;
    draw(state, before);
  };
  // A hidden page gets no frames, but its title still counts what is unread.
  const ask = (): void => {
    if (asked) return;
    asked = true;
    if (document.hidden) setTimeout(flush, 50);
    else requestAnimationFrame(() => asked && flush());
  };
  // A frame asked for just before the page was hidden would never come.
  document.addEventListener(
    'visibilitychange',
    () => asked && document.hidden && setTimeout(() => asked && flush(), 0),
  );

  ask();
  return {
    get state() {
      return state;
    },
    apply(change) {
      const next = change(state);
      if (next === state) return;
      state = next;
      ask();
    },
  };
}
