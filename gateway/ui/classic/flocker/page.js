// The page of the dialect `flocker`: emits `join` and `send_message`, hears `message` and `online_users`.
'use strict';

const byId = (id) => document.getElementById(id);
const socket = io('/flocker');
let room;
/** Ids of the messages shown in this room: a room that is entered again sends its last ones again. */
let shown = new Set();

function add(parent, tag, text, className) {
  const element = parent.appendChild(document.createElement(tag));
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function show({ username, msg, image, id, ts }) {
  if (id && shown.has(id)) return;
  shown.add(id);
  const log = byId('messages');
  const line = add(log, 'li', '', username === 'System' ? 'system' : '');
  const time = add(line, 'time', new Date(ts ?? Date.now()).toLocaleTimeString());
  time.dateTime = new Date(ts ?? Date.now()).toISOString();
  add(line, 'b', username);
  const drawn = messageImage(image);
  if (drawn) line.append(drawn);
  else add(line, 'span', msg);
  log.scrollTop = log.scrollHeight;
}

function enter(name) {
  const username = byId('username').value.trim();
  if (!username) return byId('username').focus();
  if (name !== room) {
    byId('messages').replaceChildren();
    shown = new Set();
  }
  room = name;
  for (const button of byId('rooms').children) button.setAttribute('aria-pressed', String(button.dataset.room === room));
  socket.emit('join', { username, room });
  byId('message').focus();
}

byId('rooms').addEventListener('click', ({ target }) => {
  if (target.dataset.room) enter(target.dataset.room);
});
byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const msg = byId('message').value.trim();
  if (!msg) return;
  if (!room) return enter('#general');
  socket.emit('send_message', { username: byId('username').value.trim(), room, msg });
  byId('message').value = '';
});
socket.on('message', show);
socket.on('online_users', ({ count, users }) => {
  byId('count').textContent = count;
  byId('online').replaceChildren();
  for (const user of users) add(byId('online'), 'li', user);
});
// After a reconnect the server knows nothing of this page.
socket.on('connect', () => room && enter(room));
