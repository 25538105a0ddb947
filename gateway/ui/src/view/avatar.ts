// A user's initials on the colour of their name. Called by view/log.ts and view/people.ts.

import { initials, tone } from '../format.ts';
import { el } from './dom.ts';

/** Number of `.tone-n` classes in style/tokens.css. */
const TONES = 8;

export function avatar(name: string): HTMLElement {
  return el('span', { class: `avatar tone-${tone(name, TONES)}`, attrs: { 'aria-hidden': 'true' } }, initials(name));
}
