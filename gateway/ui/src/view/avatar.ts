// A person's initials on a colour of their own. Called by view/log.ts and view/people.ts.

import { initials, tone } from '../format.ts';
import { el } from './dom.ts';

/** As many `.tone-n` classes as style/tokens.css has. */
const TONES = 8;

export function avatar(name: string): HTMLElement {
  return el('span', { class: `avatar tone-${tone(name, TONES)}`, attrs: { 'aria-hidden': 'true' } }, initials(name));
}
