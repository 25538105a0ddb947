// The page of the dialect `abidev`: emits `message broadcast`, hears `message receive`.
'use strict';

const box = document.getElementById('chat-box');
const input = document.getElementById('inputarea');
const socket = io('/abidev');

/** This tab's name: the server gives it to whoever has none, and takes this one so that it stays after a reconnect. */
const client =
  sessionStorage.getItem('abidev-client') ??
  `guest-${Array.from(crypto.getRandomValues(new Uint8Array(3)), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
sessionStorage.setItem('abidev-client', client);

// Once, not at each connect: a handler more per reconnect would show everything twice.
socket.on('message receive', (data) => {
  const line = document.createElement('p');
  const image = messageImage(data.image);
  line.innerText = `[${data.client}] : ${image ? '' : data.message}`;
  if (image) line.append(image);
  box.append(line);
  box.scrollTop = box.scrollHeight;
});
socket.on('disconnect', () => console.log('disconnected'));

function send() {
  const message = input.value.trim();
  if (!message) return console.log('an empty message is not sent');
  socket.emit('message broadcast', { message, client });
  input.value = '';
}

document.getElementById('sendbtn').addEventListener('click', send);
input.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey) return;
  event.preventDefault();
  send();
});
