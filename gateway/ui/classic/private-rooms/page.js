// The page of the dialect `private-rooms`: emits and hears `chat`, with `event` and `type`; shows its own messages
// by itself.
'use strict';

const byId = (id) => document.getElementById(id);
const socket = io('/private-rooms', { reconnectionDelayMax: 10000 });
/** Longest data URL that is sent, in characters: an image of 1 MiB. */
const MAX_IMAGE = 1_400_000;
let connected = false;
/** What was joined; joined again after a reconnect. */
let joined;

function show(from, content) {
  const line = byId('chatbox').appendChild(document.createElement('p'));
  if (from) line.appendChild(document.createElement('b')).textContent = `${from}: `;
  line.append(content);
  line.scrollIntoView();
}

/** The server escapes the names in its lines for pages that insert them as HTML. This one shows them as text. */
function unescaped(html) {
  return new DOMParser().parseFromString(html, 'text/html').documentElement.textContent;
}

/** The image that this page sends. */
function ownImage(url) {
  const image = new Image();
  image.src = url;
  image.alt = 'Image';
  return image;
}

function emit(payload) {
  if (!connected) return alert('No socket connection available!');
  socket.emit('chat', payload);
}

function enter(now) {
  joined = now ? { user: byId('user').value.trim(), room: byId('room').value.trim() } : undefined;
  byId('join').disabled = now;
  byId('user').readOnly = byId('room').readOnly = now;
}

socket.on('connect', () => {
  connected = true;
  if (joined) emit({ event: 'join', ...joined });
});
socket.on('disconnect', () => (connected = false));
socket.on('chat', ({ type, from, message, bimage, alt, to }) => {
  // With `to` it is a private message, of another user or of this one in another tab.
  if (type === 'chat') return show(to ? `${from} to ${to}` : from, message);
  if (type === 'image') return show(to ? `${from} to ${to}` : from, messageImage({ url: bimage, alt }) ?? bimage);
  show('', unescaped(message));
});
socket.on('message', (text) => show('', JSON.parse(text).message));

for (const id of ['user', 'room']) {
  byId(id).addEventListener('input', ({ target }) => (target.value = target.value.toUpperCase()));
}
byId('join').addEventListener('click', () => {
  if (!byId('user').value.trim() || !byId('room').value.trim()) return alert('Both room and user names are mandatory');
  if (!connected) return alert('No socket connection available!');
  enter(true);
  emit({ event: 'join', ...joined });
});
byId('leave').addEventListener('click', () => {
  if (joined) emit({ event: 'leave', ...joined });
  enter(false);
});
byId('users').addEventListener('click', () => emit({ event: 'users', room: byId('room').value.trim() }));
byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const typed = byId('text').value.trim();
  if (!typed) return;
  const [, user, text] = typed.match(/^@(\S+)\s+(.+)$/s) ?? [null, undefined, typed];
  emit({ event: 'chat', ...(user && { user: user.toUpperCase() }), text });
  if (connected) show(user ? `YOU to ${user.toUpperCase()}` : 'YOU', text);
  byId('text').value = '';
});
byId('image').addEventListener('click', () => byId('file').click());
byId('file').addEventListener('change', ({ target }) => {
  const [file] = target.files;
  target.value = '';
  if (!file) return;
  // Where `@NAME` is typed, the image is for that user alone.
  const typed = byId('text').value.trim();
  const user = typed.match(/^@(\S+)/)?.[1].toUpperCase();
  if (!file.type.startsWith('image/')) return alert('Only Images supported at this time');
  const reader = new FileReader();
  reader.onload = () => {
    if (reader.result.length > MAX_IMAGE) return alert('This image is too large');
    emit({ event: 'image', ...(user && { user }), room: byId('room').value.trim(), bimage: reader.result });
    if (!connected) return;
    show(user ? `YOU to ${user}` : 'YOU', ownImage(reader.result));
    if (user && typed === byId('text').value.trim() && !/\s/.test(typed)) byId('text').value = '';
  };
  reader.readAsDataURL(file);
});
