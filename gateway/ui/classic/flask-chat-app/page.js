// The page of the dialect `flask-chat-app`: emits `join_room`, `send_message` and `leave_room`, hears
// `receive_message` and two announcements. Name and room come from the address, never from a template.
'use strict';

const asked = new URLSearchParams(location.search);
const username = asked.get('username').trim();
const room = asked.get('room').trim();
const messages = document.getElementById('messages');
const input = document.getElementById('message_input');
const socket = io('/flask-chat-app');

document.getElementById('room').textContent = room;

/** The dialect escapes names and texts for pages that insert them as HTML. This one shows them as text. */
function unescaped(html) {
  return new DOMParser().parseFromString(html, 'text/html').documentElement.textContent;
}

function show(name, ...content) {
  const line = messages.appendChild(document.createElement('div'));
  line.appendChild(document.createElement('b')).textContent = unescaped(name);
  line.append(...content);
  line.scrollIntoView();
}

socket.on('connect', () => socket.emit('join_room', { username, room }));
socket.on('join_room_announcement', (data) => {
  if (unescaped(data.username) !== username) show(data.username, ' has joined the room');
});
socket.on('leave_room_announcement', (data) => show(data.username, ' has left the room'));
socket.on('receive_message', ({ username, message, image }) => {
  const drawn = image && messageImage({ ...image, url: unescaped(image.url), alt: unescaped(image.alt ?? '') });
  show(username, ': ', drawn ?? unescaped(message));
});

document.getElementById('message_input_form').addEventListener('submit', (event) => {
  event.preventDefault();
  const message = input.value.trim();
  if (message) socket.emit('send_message', { username, room, message });
  input.value = '';
  input.focus();
});
window.onbeforeunload = () => {
  socket.emit('leave_room', { username, room });
};
