// The pages of the five classic chats in real Chromium, beside the native page.
import assert from 'node:assert/strict';

import { launchBrowser } from './browser.mjs';
import { Front, chats, cluster, connect, eventually, proxy, request, step, story } from './harness.mjs';
import { DOT, ROOM, Visitor } from './pages.mjs';

for (const chat of chats) {
  story(`pages of ${chat} and a native one on three gateways, one of which dies`, { timeout: 120_000 }, async () => {
    const { gateways: [a, b, c] } = await cluster({ gateways: 3, presence: 1, args: ['--grace', '2s', '--lease', '3s'] });
    const address = await proxy([a, c]);
    const browser = await launchBrowser();
    const nat = await connect(c, { name: 'nat' });
    await nat.join(ROOM);
    const ann = await Visitor.visit(browser, chat, `${address.url}/classic/${chat}`);
    const bob = await Visitor.visit(browser, chat, `${b.url}/classic/${chat}`);
    await ann.enter('ann');
    await bob.enter('bob');
    const pia = await (await Visitor.visit(browser, 'native', `${c.url}/native/`)).enter('pia');

    const converse = async (round) => {
      // Until it is heard: a page that is not in the room yet is told, or hears nothing.
      const texts = { ann: `ann ${round}`, bob: `bob ${round}`, nat: `nat ${round} <b>&</b>`, pia: `pia ${round}` };
      for (const visitor of [ann, bob]) {
        await visitor.say(texts[visitor === ann ? 'ann' : 'bob']);
        await eventually(() => nat.room(ROOM).messages.some(({ user, text }) => user === visitor.name && text.endsWith(round)), {
          what: () => `nat hears ${visitor.name}: ${JSON.stringify(nat.room(ROOM).messages.slice(-3))}`,
          timeout: 20_000,
        });
      }
      await pia.say(texts.pia);
      await nat.send(ROOM, texts.nat);
      for (const visitor of [ann, bob, pia]) {
        await visitor.sees(ann.name, texts.ann);
        await visitor.sees(bob.name, texts.bob);
        await visitor.sees('nat', texts.nat);
        await visitor.sees('pia', texts.pia);
      }
    };

    await step('one conversation with a native page and a native client', async () => {
      // A page without names takes one with its first message.
      if (chat !== 'abidev') await nat.sees(ROOM, ann.name, bob.name);
      await converse('first');
      await nat.sees(ROOM, ann.name, bob.name);
    });

    await step('an image is drawn on every page', async () => {
      const { url } = await nat.ok('send_image', { room: ROOM, image: DOT, alt: 'a <dot>' });
      for (const visitor of [ann, bob, pia]) await visitor.draws(url, 'a <dot>');
      // What somebody says of an image draws none, and no other server's is asked for.
      await nat.send(ROOM, 'https://other.example/images/0123456789abcdef0123456789abcdef');
      for (const visitor of [ann, bob, pia]) {
        await visitor.sees('nat', 'https://other.example/images/0123456789abcdef0123456789abcdef');
        assert.equal(await visitor.page.locator(`${visitor.how.lines} img`).count(), 1);
      }
    });

    await step('everybody is told who comes and goes, and who is there', async () => {
      const name = chat === 'private-rooms' ? 'CYD' : 'cyd';
      const there = [ann.name, bob.name, 'nat', 'pia'];
      const lists = (...names) => Promise.all([ann, bob, pia].filter(({ how }) => how.online).map((visitor) => visitor.lists(...names)));
      await lists(...there);
      const cyd = await new Front(b, chat, { name }).join(ROOM);
      if (chat === 'abidev') await cyd.say('hello');
      await lists(...there, name);
      await pia.page.locator('[data-testid="presence-note"]', { hasText: new RegExp(`${name}.* joined`) }).waitFor();
      for (const visitor of [ann, bob].filter(({ how }) => how.joined)) await visitor.shows(visitor.how.joined(name));
      cyd.socket.disconnect();
      await lists(...there);
      for (const visitor of [ann, bob].filter(({ how }) => how.left)) await visitor.shows(visitor.how.left(name));
    });

    await step('it goes on under the same names after the gateway of one page died', async () => {
      const joins = bob.how.joined && (await bob.count(bob.how.joined(ann.name)));
      await a.kill9();
      await eventually(async () => {
        const before = nat.room(ROOM).messages.length;
        await ann.say('am I back?');
        await eventually(() => nat.room(ROOM).messages.slice(before).some(({ user }) => user === ann.name), { timeout: 2_000 });
        return true;
      }, { timeout: 30_000, every: 200, what: `${ann.name} is back` });
      await converse('second');
      // Nobody noticed, also once the lease of the dead gateway was over.
      if (bob.how.left) assert.deepEqual([await bob.count(bob.how.joined(ann.name)), await bob.count(bob.how.left(ann.name))], [joins, 0]);
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
        await page.setInputFiles('#file', { name: 'a.png', mimeType: 'image/png', buffer: DOT });
        const sent = await eventually(() => nat.room(ROOM).messages.find(({ user, kind }) => user === 'ANN' && kind === 'image'));
        for (const visitor of [bob, pia]) await visitor.draws(sent.image.url, visitor === bob ? 'Image' : '');
        await page.fill('#text', '@bob');
        await page.setInputFiles('#file', { name: 'b.png', mimeType: 'image/png', buffer: DOT });
        for (const [visitor, line] of [[ann, 'YOU: '], [ann, 'YOU to BOB: '], [bob, 'ANN to BOB: ']]) {
          const shows = (line) => [...document.querySelectorAll('#chatbox p')].some((p) => p.textContent === line && p.querySelector('img')?.naturalWidth === 1);
          await eventually(() => visitor.page.evaluate(shows, line), { what: `the image is shown as ${line}` });
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
    for (const visitor of [ann, bob, pia]) visitor.verify();
  });
}

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
    for (const [path, page] of [['/native', '/native/'], ['/chat/?room=r', '/chat'], ...chats.map((name) => [`/classic/${name}/`, `/classic/${name}`])]) {
      const { status, headers } = await get(path);
      assert.deepEqual([status, new URL(headers.location, gateway.url + path).pathname], [308, page]);
    }
    assert.equal((await get('/images/%ff')).status, 404);
    for (const path of ['/nowhere', '/classic/nowhere', '/classic']) {
      const missing = await get(path);
      assert.deepEqual([missing.status, /no such page/.test(missing.body)], [404, true], path);
      assert.equal((await get(path, {})).status, 404);
    }
    assert.equal(JSON.parse((await get('/nowhere', {})).body).code, 'not_found');
    for (const incomplete of ['/chat', '/chat?username=ann', '/chat?username=&room=r', '/chat?username=ann&username=bob&room=r', '/chat?username=ann&room=%20']) {
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
