// The message input: grows with the text; Enter sends, Shift+Enter inserts a line break. Images are picked or pasted. Each
// room has its own draft. Drawn by view/shell.ts; calls Actions.send, sendImage and typing.

import type { Actions } from '../session.ts';
import type { State } from '../state.ts';
import { texts } from '../strings.ts';
import { el, icon, setText } from './dom.ts';

/** The remaining length is shown once fewer bytes than this are left. */
const COUNT_FROM = 500;

export function createComposer(actions: Actions) {
  const drafts = new Map<string, string>();
  const utf8 = new TextEncoder();
  let room: string | null = null;
  let limit = Infinity;

  const input = el('textarea', {
    testid: 'composer',
    attrs: { rows: '1', dir: 'auto', enterkeyhint: 'send', autocomplete: 'off', 'aria-describedby': 'composer-count' },
  });
  const count = el('span', { class: 'composer-count', attrs: { id: 'composer-count' } });
  const button = el(
    'button',
    { class: 'send', testid: 'send', attrs: { type: 'submit', 'aria-label': 'Send', title: 'Send (Enter)' } },
    icon('send'),
  );
  const file = el('input', {
    testid: 'image-file',
    attrs: { type: 'file', accept: 'image/png,image/jpeg,image/gif,image/webp', hidden: '' },
  });
  const picker = el(
    'button',
    {
      class: 'pick',
      attrs: { type: 'button', 'aria-label': texts.addImage, title: texts.addImage },
      on: { click: () => file.click() },
    },
    icon('image'),
  );
  const element = el('form', { class: 'composer' }, file, picker, input, count, button);

  const text = (): string => input.value.trim();

  function changed(): void {
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight}px`;
    const left = limit - utf8.encode(text()).length;
    setText(count, left < 0 ? texts.tooLong(-left) : left < COUNT_FROM ? texts.lengthLeft(left) : '');
    count.classList.toggle('is-over', left < 0);
    button.disabled = text() === '' || left < 0 || room === null;
  }

  function submit(): void {
    if (button.disabled) return;
    actions.send(text());
    input.value = '';
    changed();
    input.focus();
  }

  input.addEventListener('input', () => {
    changed();
    actions.typing(text() !== '');
  });
  input.addEventListener('keydown', (event) => {
    // While an input method composes, Enter selects a candidate; Safari reports that only by key code 229.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  file.addEventListener('change', () => {
    const [chosen] = file.files ?? [];
    file.value = '';
    if (chosen) actions.sendImage(chosen);
  });
  input.addEventListener('paste', (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith('image/'));
    if (!pasted || room === null) return;
    event.preventDefault();
    actions.sendImage(pasted);
  });
  element.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  // A tap on the button must not close a phone's keyboard.
  button.addEventListener('pointerdown', (event) => event.preventDefault());

  return {
    element,
    focus: () => input.focus({ preventScroll: true }),
    draw(state: State, before: State | null) {
      if (state.limits !== before?.limits) limit = state.limits.max_text;
      if (state.active === room && before) return;
      if (room !== null) drafts.set(room, input.value);
      room = state.active;
      input.value = room === null ? '' : (drafts.get(room) ?? '');
      input.disabled = picker.disabled = room === null;
      input.placeholder = room === null ? '' : texts.writeTo(room);
      input.setAttribute('aria-label', input.placeholder);
      changed();
    },
  };
}
