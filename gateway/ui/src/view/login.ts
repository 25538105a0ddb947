// The sign-in form. Drawn by main.ts while the user is not signed in; calls Actions.signIn.

import type { Actions } from '../session.ts';
import type { State } from '../state.ts';
import { texts } from '../strings.ts';
import { el, logo, setText } from './dom.ts';

export function createLogin(actions: Actions) {
  const input = el('input', {
    testid: 'name-input',
    attrs: {
      id: 'name',
      name: 'username',
      type: 'text',
      dir: 'auto',
      autocomplete: 'username',
      autocapitalize: 'off',
      spellcheck: 'false',
      required: '',
      placeholder: 'ada',
      enterkeyhint: 'go',
      'aria-describedby': 'name-error',
    },
  });
  const error = el('p', { class: 'login-error', attrs: { id: 'name-error', role: 'alert' } });
  const button = el('button', { class: 'primary', attrs: { type: 'submit' } }, 'Join the chat');
  const form = el(
    'form',
    {
      class: 'login-card',
      testid: 'name-form',
      on: {
        submit: (event) => {
          event.preventDefault();
          actions.signIn(input.value);
        },
      },
    },
    logo(),
    el('h1', {}, 'Roomcast'),
    el('p', { class: 'login-lead' }, 'One chat, many servers. Pick a name and walk in.'),
    el('label', { attrs: { for: 'name' } }, 'Your name'),
    input,
    error,
    button,
    el('p', { class: 'login-note' }, 'Kept in this browser, so a reload brings you back.'),
  );

  return {
    element: el('main', { class: 'login' }, form),
    focus(name: string) {
      if (!input.value) input.value = name;
      input.focus();
      input.select();
    },
    draw({ link, limits }: State) {
      const busy = link.is !== 'out';
      button.disabled = busy;
      setText(button, busy ? texts.connecting : 'Join the chat');
      input.readOnly = busy;
      input.maxLength = limits.max_name;
      const why =
        link.is === 'out' ? link.error : link.is === 'waiting' ? link.why : link.is === 'lost' ? texts.unreachable : '';
      setText(error, why);
      input.toggleAttribute('aria-invalid', link.is === 'out' && link.error !== '');
    },
  };
}
