// Pages of the originals, in real Chromium, on another origin than the gateways: unchanged but for the server's address, each
// with the client version of its original, and without a content security policy.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';

import { launchBrowser } from './browser.mjs';
import { Front, chats, cluster, connect, eventually, proxy, scope, step, story, unique } from './harness.mjs';
import { DOT } from './pages.mjs';

/** The clients of the originals, as files of packages. */
const CLIENTS = {
  flocker: 'socket.io-client/dist/socket.io.min.js',
  abidev: 'socket.io-client-2/dist/socket.io.slim.js',
  'flask-chat-app': 'socket.io-client-3-0/dist/socket.io.min.js',
  ribbit: 'socket.io-client/dist/socket.io.min.js',
  'private-rooms': 'socket.io-client-3/dist/socket.io.min.js',
};

/** The scripts of the originals. Each shows what it receives as lines of `#messages`. */
const SCRIPTS = {
  flocker: (name, room) => `
    const join = () => socket.emit('join', { username: '${name}', room: '#${room}' });
    const say = (msg) => socket.emit('send_message', { username: '${name}', room: '#${room}', msg });
    socket.on('message', ({ username, msg }) => add(username + ': ' + msg));
    socket.on('online_users', ({ users }) => (window.online = users));
    join();`,
  abidev: () => `
    const say = (message) => socket.emit('message broadcast', { message });
    socket.on('message receive', ({ client, message }) => add(client + ': ' + message));`,
  'flask-chat-app': (name, room) => `
    const say = (message) => socket.emit('send_message', { username: '${name}', room: '${room}', message });
    socket.on('connect', () => socket.emit('join_room', { username: '${name}', room: '${room}' }));
    const html = (markup) => (add('').innerHTML = markup);
    socket.on('receive_message', (data) => html('<b>' + data.username + ':</b> ' + data.message));
    socket.on('join_room_announcement', (data) => html('<b>' + data.username + '</b> has joined the room'));
    socket.on('leave_room_announcement', (data) => html('<b>' + data.username + '</b> has left the room'));`,
  ribbit: (name, room) => `
    const say = (message) => socket.emit('chat', { threadId: '${room}', message });
    socket.on('connect', () => socket.emit('join', { threadId: '${room}' }));
    socket.on('chat', ({ username, message }) => add(username + ': ' + message));`,
  'private-rooms': (name, room) => `
    const join = () => socket.emit('chat', { event: 'join', user: '${name}', room: '${room}' });
    const say = (text) => socket.emit('chat', { event: 'chat', text });
    socket.on('chat', ({ type, from, message, bimage }) => {
      if (type === 'image') add(from + ': ').appendChild(new Image()).src = bimage;
      else add(type === 'chat' ? from + ': ' + message : message);
    });
    join();`,
};

/** A page of an original. `io(url)` connects to `/`. */
const original = (chat, gateway, name, room) => `<!doctype html><div id="messages"></div><script src="/client.js"></script><script>
  const socket = io('${gateway}'${chat === 'ribbit' ? `, { auth: { username: '${name}', resume: 'a secret of its own' } }` : ''});
  const add = (text) => {
    const line = document.getElementById('messages').appendChild(document.createElement('div'));
    line.textContent = text;
    return line;
  };
  ${SCRIPTS[chat](name, room)}
</script>`;

/** Serves a page of a chat's original on an origin of its own; returns that. */
async function otherOrigin(chat, html) {
  const client = await readFile(new URL(`node_modules/${CLIENTS[chat]}`, import.meta.url));
  const server = createServer(({ url }, response) => {
    const [type, body] = url === '/client.js' ? ['text/javascript', client] : ['text/html', html];
    response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

const linesOf = (page) => page.$$eval('#messages div', (elements) => elements.map((element) => element.textContent));

story('pages of all five originals on other origins, at one address, whose gateway dies', { timeout: 120_000 }, async () => {
  const room = 'general';
  const name = (chat) => (chat === 'private-rooms' ? 'OLD-PRIVATE' : `old-${chat}`);
  // Its gateways are known later: they are told the address, which is that of images.
  const gateways = [];
  const address = await proxy(gateways);
  const origins = {};
  for (const chat of chats) origins[chat] = await otherOrigin(chat, original(chat, address.url, name(chat), room));
  // A 2.x client polls with credentials, and so must be listed by its name.
  const args = ['--dialect', 'auto', '--allow-origin', '*', '--allow-origin', origins.abidev];
  const timing = ['--grace', '1s', '--lease', '3s', '--public-url', address.url];
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: [...args, ...timing] });
  gateways.push(a, b);
  const browser = await launchBrowser();
  const nat = await connect(b, { name: 'nat' });
  await nat.join(room);
  const pages = {};
  for (const chat of chats) {
    pages[chat] = await browser.newPage();
    await pages[chat].goto(origins[chat]);
  }
  const say = (chat, text) => pages[chat].evaluate((text) => say(text), text);
  const shows = (chat, line) =>
    eventually(async () => (await linesOf(pages[chat])).some((shown) => shown.includes(line)), { timeout: 20_000, what: `${chat} shows ${line}` });
  /** Says something until it is heard: a page may not be back in the room yet. */
  const heard = (chat, round) =>
    eventually(async () => {
      const text = unique(round);
      await say(chat, text);
      return eventually(() => nat.room(room).messages.find((message) => message.text === text), { timeout: 2_000 });
    }, { timeout: 30_000, every: 200, what: `${chat} is heard: ${round}` });
  const converse = async (round) => {
    for (const chat of chats) {
      const { text, user, verified } = await heard(chat, round);
      assert.equal(verified, chat === 'ribbit' ? undefined : false, chat);
      if (chat === 'abidev') assert.match(user, /^guest-/);
      else assert.equal(user, name(chat));
      // One of them leaves it to its page to show its own.
      for (const other of chats.filter((other) => other !== chat || other !== 'private-rooms')) await shows(other, `${user}: ${text}`);
    }
    const text = unique(round);
    await nat.send(room, text);
    for (const chat of chats) await shows(chat, `nat: ${text}`);
  };

  await step('one conversation', async () => {
    await nat.sees(room, ...chats.filter((chat) => chat !== 'abidev').map(name));
    await converse('first');
    await eventually(() => pages.flocker.evaluate(() => window.online?.includes('old-ribbit')), { what: 'the list of users' });
  });

  await step('an image is drawn by the page that can, and is a line with its URL on the others', async () => {
    const { url } = await nat.ok('send_image', { room, image: DOT });
    for (const chat of chats.filter((chat) => chat !== 'private-rooms')) await shows(chat, `nat: ${url}`);
    await eventually(() => pages['private-rooms'].evaluate(() => document.querySelector('img')?.naturalWidth === 1), { what: 'the image is drawn' });
    assert.ok(url.startsWith(`${address.url}/images/`));
  });

  await step('after their gateway died some join again by themselves, and the others are told to or join by their next message', async () => {
    await a.kill9();
    // These join, or hear the shared room, at each connect.
    for (const chat of ['abidev', 'flask-chat-app', 'ribbit']) {
      await eventually(async () => {
        const text = unique(`are you there, ${chat}?`);
        await nat.send(room, text);
        return eventually(async () => (await linesOf(pages[chat])).some((line) => line.includes(text)), { timeout: 1_000 });
      }, { timeout: 30_000, what: `${chat} is back by itself` });
    }
    const toldToJoin = async () => {
      await say('private-rooms', 'anybody?');
      return (await linesOf(pages['private-rooms'])).some((line) => line.startsWith('Join again: '));
    };
    await eventually(toldToJoin, { timeout: 20_000, every: 500, what: 'the page is told to join again' });
    await pages['private-rooms'].evaluate(() => join());
    await converse('second');
    await nat.sees(room, ...chats.filter((chat) => chat !== 'abidev').map(name));
  });
});

const PAYLOADS = [
  '<img src=x onerror="window.hacked = 1">',
  '<script>window.hacked = 2</script>',
  '<svg onload=window.hacked=3>',
  '"><iframe srcdoc="<script>parent.hacked=4</script>"></iframe>',
  "<a href='javascript:window.hacked=5' onclick=window.hacked=5>&lt;click&gt;</a>",
];

story('a page of the original on another origin: nothing in it is executed, and it joins again', { timeout: 90_000 }, async () => {
  const args = ['--dialect', 'flask-chat-app', '--allow-origin', '*', '--grace', '1s', '--lease', '3s'];
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args });
  const address = await proxy([a, b]);
  const room = unique('room');
  const browser = await launchBrowser();
  const page = await browser.newPage();
  await page.goto(await otherOrigin('flask-chat-app', original('flask-chat-app', address.url, 'old', room)));
  const nat = await connect(b, { name: '<img src=x onerror=window.hacked=6>' });
  await nat.join(room);
  await nat.sees(room, 'old');
  const eve = await new Front(b, 'flask-chat-app', { name: '<b>eve</b>' }).join(room);
  const lines = () => page.$$eval('#messages div', (lines) => lines.map((line) => line.textContent));

  await step('texts and names are shown as they were written', async () => {
    for (const text of PAYLOADS) {
      await nat.send(room, text);
      await eve.say(text);
    }
    for (const text of PAYLOADS) {
      for (const name of [nat.name, eve.name]) {
        await eventually(async () => (await lines()).includes(`${name}: ${text}`), { what: async () => JSON.stringify(await lines()) });
      }
    }
    await eventually(async () => (await lines()).includes(`${eve.name} has joined the room`));
    await eve.ask(['send_message', { room: '<img src=x onerror=window.hacked=7>', message: 'x' }]);
    await eventually(() => eve.told.some((line) => line.includes('you have not joined &lt;img')));
    assert.equal(await page.$$eval('#messages div > :not(b), #messages b *', (elements) => elements.length), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  });

  await step('after its gateway died it joins again by itself', async () => {
    await a.kill9();
    await eventually(async () => {
      const text = unique('are you there?');
      await nat.send(room, text);
      return eventually(async () => (await lines()).includes(`${nat.name}: ${text}`), { timeout: 1_000 });
    }, { timeout: 30_000, what: 'the page is back' });
    await nat.sees(room, 'old');
  });
});

