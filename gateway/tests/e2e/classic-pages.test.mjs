// The pages of the five classic chats in real Chromium, and a page of one of the originals on another origin.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';

import { launchBrowser } from './browser.mjs';
import { Front, chats, cluster, connect, eventually, proxy, request, scope, step, story, unique } from './harness.mjs';
import { ROOM, Visitor } from './pages.mjs';

for (const chat of chats) {
  story(`pages of ${chat} on two gateways, one of which dies`, { timeout: 120_000 }, async () => {
    const { gateways: [a, b, c] } = await cluster({ gateways: 3, presence: 1, args: ['--grace', '2s', '--lease', '3s'] });
    const address = await proxy([a, c]);
    const browser = await launchBrowser();
    const nat = await connect(c, { name: 'nat' });
    await nat.join(ROOM);
    const ann = await Visitor.visit(browser, chat, `${address.url}/classic/${chat}`);
    const bob = await Visitor.visit(browser, chat, `${b.url}/classic/${chat}`);
    await ann.enter('ann');
    await bob.enter('bob');

    const converse = async (round) => {
      // Until it is heard: a page that is not in the room yet is told, or hears nothing.
      const texts = { ann: `ann ${round}`, bob: `bob ${round}`, nat: `nat ${round} <b>&</b>` };
      for (const visitor of [ann, bob]) {
        await visitor.say(texts[visitor === ann ? 'ann' : 'bob']);
        await eventually(() => nat.room(ROOM).messages.some(({ user, text }) => user === visitor.name && text.endsWith(round)), {
          what: () => `nat hears ${visitor.name}: ${JSON.stringify(nat.room(ROOM).messages.slice(-3))}`,
          timeout: 20_000,
        });
      }
      await nat.send(ROOM, texts.nat);
      for (const visitor of [ann, bob]) {
        await visitor.sees(ann.name, texts.ann);
        await visitor.sees(bob.name, texts.bob);
        await visitor.sees('nat', texts.nat);
      }
    };

    await step('one conversation with a native client', async () => {
      // A page without names takes one with its first message.
      if (chat !== 'abidev') await nat.sees(ROOM, ann.name, bob.name);
      await converse('first');
      await nat.sees(ROOM, ann.name, bob.name);
    });

    await step('it goes on under the same names after the gateway of one page died', async () => {
      await a.kill9();
      await eventually(async () => {
        const before = nat.room(ROOM).messages.length;
        await ann.say('am I back?');
        await eventually(() => nat.room(ROOM).messages.slice(before).some(({ user }) => user === ann.name), { timeout: 2_000 });
        return true;
      }, { timeout: 30_000, every: 200, what: `${ann.name} is back` });
      await converse('second');
    });

    await step('what the page has of the original', async () => {
      const { page } = ann;
      if (chat === 'flocker') {
        const rooms = await page.$$eval('#rooms button', (buttons) => buttons.map((button) => button.textContent));
        assert.deepEqual(rooms, ['#general', '#help']);
        await eventually(async () => (await page.$$eval('#online li', (items) => items.map((item) => item.textContent))).includes('bob'));
        assert.ok((await page.$$eval('#messages time', (times) => times.length)) > 0, 'every message has its time');
        await page.click('#rooms [data-room="#help"]');
        await eventually(async () => (await ann.lines()).includes('Systemann joined help.'));
        assert.ok(!(await ann.lines()).some((line) => line.includes('first')), 'another room, another log');
        await eventually(async () => (await bob.lines()).includes('Systemann left general.'));
      }
      if (chat === 'abidev') {
        assert.equal(await page.locator('h1').count(), 1);
        assert.equal(await page.getAttribute('#inputarea', 'rows'), '3');
        await page.click('#sendbtn');
        assert.ok(ann.logged.includes('an empty message is not sent'));
        assert.equal(await page.inputValue('#inputarea'), '', 'the box is cleared after a message');
        assert.ok(ann.logged.includes('disconnected'), 'of the gateway that died');
        const style = await page.$eval('body', (body) => getComputedStyle(body).backgroundColor);
        assert.equal(style, 'rgb(53, 52, 50)');
        const lines = (await ann.lines()).filter((line) => !line.includes('am I back?'));
        assert.equal(new Set(lines).size, lines.length, 'nothing is shown twice after a reconnect');
      }
      if (chat === 'flask-chat-app') {
        assert.equal(await page.textContent('h1'), 'Welcome to chat room general');
        assert.equal(await page.getAttribute('#message_input_form input', 'placeholder'), 'Enter your message here');
        assert.ok(!(await ann.lines()).some((line) => line.startsWith('ann has joined')), 'its own join is not shown');
        assert.equal(await page.evaluate(() => document.activeElement.id), 'message_input', 'focus stays');
        await page.close({ runBeforeUnload: true });
        await eventually(async () => (await bob.lines()).includes('ann has left the room'));
      }
      if (chat === 'ribbit') {
        await page.fill('#thread', 'other');
        await page.click('text=Open');
        await nat.send(ROOM, 'unread');
        await eventually(async () => (await page.textContent('#unread')) === '1');
        await page.click('#nav-messages');
        await ann.sees('nat', 'unread');
        assert.ok(await page.isHidden('#unread'));
      }
      if (chat === 'private-rooms') {
        assert.equal(await page.inputValue('#user'), 'ANN');
        assert.ok(await page.isDisabled('#join'));
        assert.notEqual(await page.getAttribute('#user', 'readonly'), null);
        await page.click('#users');
        await eventually(async () => (await ann.lines()).some((line) => /^Users in room: \[.*'ANN'.*\]$/.test(line)));
        await ann.say('@bob psst');
        assert.ok((await ann.lines()).some((line) => line.startsWith('YOU to BOB') && line.includes('psst')));
        await eventually(async () => (await bob.lines()).some((line) => line.startsWith('ANN to BOB') && line.includes('psst')));
        await ann.say('@nobody psst');
        await eventually(async () => (await ann.lines()).includes('NOBODY is not online'));
        assert.equal((await ann.lines()).filter((line) => line.includes('psst')).length, 2, 'its own message is shown once');
        const dot = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
        await page.setInputFiles('#file', { name: 'a.png', mimeType: 'image/png', buffer: Buffer.from(dot, 'base64') });
        for (const { page } of [ann, bob]) {
          await eventually(() => page.evaluate(() => document.querySelector('#chatbox img')?.naturalWidth === 1));
        }
        await page.fill('#text', '@bob');
        await page.setInputFiles('#file', { name: 'b.png', mimeType: 'image/png', buffer: Buffer.from(dot, 'base64') });
        for (const [visitor, line] of [[ann, 'YOU to BOB: '], [bob, 'ANN to BOB: ']]) {
          const shows = (line) => [...document.querySelectorAll('#chatbox p')].some((p) => p.textContent === line && p.querySelector('img')?.naturalWidth === 1);
          await eventually(() => visitor.page.evaluate(shows, line), { what: `the private image is shown as ${line}` });
        }
        assert.equal(await page.inputValue('#text'), '');
        await page.click('#leave');
        assert.ok(!(await page.isDisabled('#join')));
        await eventually(async () => (await bob.lines()).includes('User ANN left room GENERAL'));
        await page.fill('#room', '');
        await page.click('#join');
        await page.setInputFiles('#file', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('a') });
        await page.evaluate(() => socket.disconnect());
        const before = ann.alerts.length;
        await page.click('#users');
        await eventually(() => ann.alerts.length > before);
        const expected = ['Both room and user names are mandatory', 'Only Images supported at this time', 'No socket connection available!'];
        // The last one also while no gateway was reachable.
        assert.deepEqual([...new Set(ann.alerts)].sort(), expected.sort());
      }
    });
    for (const visitor of [ann, bob]) visitor.verify();
  });
}

/** A page as one of the originals was: it inserts what it receives as HTML, and has no content security policy. */
const ORIGINAL = (gateway, name, room) => `<!doctype html><div id="messages"></div><script src="/client.js"></script><script>
const socket = io(${JSON.stringify(gateway)});
socket.on('connect', () => socket.emit('join_room', { username: ${JSON.stringify(name)}, room: ${JSON.stringify(room)} }));
const add = (html) => {
  const line = document.createElement('div');
  line.innerHTML = html;
  document.getElementById('messages').appendChild(line);
};
socket.on('receive_message', (data) => add('<b>' + data.username + ':</b> ' + data.message));
socket.on('join_room_announcement', (data) => add('<b>' + data.username + '</b> has joined the room'));
socket.on('leave_room_announcement', (data) => add('<b>' + data.username + '</b> has left the room'));
</script>`;

async function otherOrigin(html) {
  const client = await readFile(new URL('node_modules/socket.io-client-3-0/dist/socket.io.min.js', import.meta.url));
  const server = createServer(({ url }, response) => {
    const [type, body] = url === '/client.js' ? ['text/javascript', client] : ['text/html', html];
    response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  scope().defer(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}/`;
}

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
  await page.goto(await otherOrigin(ORIGINAL(address.url, 'old', room)));
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

story('addresses', { timeout: 60_000 }, async () => {
  const html = { headers: { accept: 'text/html,*/*' } };
  for (const chat of ['native', ...chats]) {
    const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args: ['--dialect', chat] });
    const get = (path, options = html) => request(gateway.url + path, options);
    const title = async (path) => /<title>(.*)<\/title>/.exec((await get(path)).body)[1];
    assert.equal(await title('/native/'), 'Roomcast');
    assert.equal(await title('/'), chat === 'native' ? 'Roomcast' : await title(`/classic/${chat}`));
    if (chat !== 'native') assert.notEqual(await title('/'), 'Roomcast');
    if (chat !== 'abidev') continue;
    assert.equal((await get('/hello')).body, 'Hello World');
    for (const path of ['/nowhere', '/classic/nowhere', '/classic']) {
      const missing = await get(path);
      assert.deepEqual([missing.status, /no such page/.test(missing.body)], [404, true], path);
      assert.equal((await get(path, {})).status, 404);
    }
    assert.equal(JSON.parse((await get('/nowhere', {})).body).code, 'not_found');
    for (const incomplete of ['/chat', '/chat?username=ann', '/chat?username=&room=r', '/chat?username=ann&room=%20']) {
      const { status, headers } = await get(incomplete);
      assert.deepEqual([status, headers.location], [303, '/'], incomplete);
    }
    for (const path of ['/chat?username=ann&room=r', ...chats.map((name) => `/classic/${name}`), '/classic/client-2.2.0.js']) {
      const { status, headers } = await get(path);
      assert.equal(status, 200, path);
      assert.match(headers['content-security-policy'], /^default-src 'self';/, path);
      assert.equal(headers['x-content-type-options'], 'nosniff');
    }
  }
});
