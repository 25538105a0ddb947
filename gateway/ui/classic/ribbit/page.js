// The page of the dialect `ribbit`: signs in with a name, which this browser's cookie proves, so that every tab is the same
// user; emits `join` and `chat`, hears `chat` for the open thread and `new_message` for the badges.
'use strict';

const byId = (id) => document.getElementById(id);
const threads = new Map();
let socket;
let open;

function draw() {
  const list = byId('threads');
  list.replaceChildren();
  let total = 0;
  for (const [id, { unread }] of threads) {
    const button = list.appendChild(document.createElement('li')).appendChild(document.createElement('button'));
    button.dataset.thread = id;
    button.textContent = id;
    button.setAttribute('aria-current', String(id === open));
    if (unread) button.appendChild(document.createElement('span')).textContent = unread;
    total += unread;
  }
  byId('unread').textContent = total;
  byId('unread').hidden = total === 0;
}

function show(thread) {
  open = thread;
  threads.get(thread).unread = 0;
  byId('chat').replaceChildren();
  for (const message of threads.get(thread).messages) line(message);
  draw();
}

function line({ username, message, image, ts }) {
  const item = byId('chat').appendChild(document.createElement('li'));
  if (ts) item.appendChild(document.createElement('time')).textContent = new Date(ts).toLocaleTimeString();
  item.appendChild(document.createElement('b')).textContent = username;
  item.append(' ', messageImage(image) ?? message);
  item.scrollIntoView();
}

function enter(thread) {
  if (!threads.has(thread)) threads.set(thread, { unread: 0, messages: [] });
  threads.get(thread).outside = false;
  socket.emit('join', { threadId: thread });
  show(thread);
}

function visit(thread) {
  if (threads.get(thread).outside) enter(thread);
  else show(thread);
}

function connect(username) {
  socket = io('/ribbit', { auth: { username } });
  socket.on('connect', () => {
    byId('sign-in').hidden = true;
    document.querySelector('main').hidden = false;
    byId('error').textContent = '';
    for (const [thread, { outside }] of threads) if (!outside) socket.emit('join', { threadId: thread });
  });
  socket.on('connect_error', ({ message }) => {
    byId('error').textContent = message === 'username_taken' ? `${username} is somebody else` : message;
  });
  socket.on('chat', (data) => {
    if (data.threadId === null) return (byId('error').textContent = data.message);
    const thread = threads.get(String(data.threadId));
    if (!thread) return;
    thread.messages.push(data);
    if (String(data.threadId) === open) line(data);
  });
  socket.on('new_message', ({ threadId }) => {
    const id = String(threadId);
    if (id === open) return;
    // Another tab of this user is in a thread that this one has not joined.
    if (!threads.has(id)) threads.set(id, { unread: 0, messages: [], outside: true });
    threads.get(id).unread += 1;
    draw();
  });
}

byId('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  socket?.disconnect();
  connect(byId('username').value.trim());
});
byId('open-thread').addEventListener('submit', (event) => {
  event.preventDefault();
  enter(byId('thread').value.trim());
  byId('thread').value = '';
});
byId('threads').addEventListener('click', ({ target }) => {
  const button = target.closest('button');
  if (button) visit(button.dataset.thread);
});
byId('nav-messages').addEventListener('click', () => {
  const waiting = [...threads].find(([, { unread }]) => unread > 0);
  if (waiting) visit(waiting[0]);
});
byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const message = byId('message').value.trim();
  if (message && open) socket.emit('chat', { threadId: open, message });
  byId('message').value = '';
});
