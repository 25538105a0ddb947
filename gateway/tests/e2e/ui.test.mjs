// The web UI in real Chromium: pages on different gateways, one of which is killed. Finds elements by their
// data-testid only. ROOMCAST_SCREENSHOTS=1 also takes the pictures of docs/img.
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { launchBrowser } from './browser.mjs';
import { cluster, connect, eventually, proxy, step, story, unique } from './harness.mjs';

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

const id = (name) => `[data-testid="${name}"]`;

/** A page and what a person does on it. One context is one browser: its pages are one user. */
class Person {
  complaints = [];

  static async visit(context, url) {
    const person = new Person();
    person.page = await context.newPage();
    person.page.setDefaultTimeout(10_000);
    person.page.on('pageerror', (error) => person.complaints.push(String(error)));
    person.page.on('console', (message) => {
      // Refused connections are expected while a gateway is down.
      if (message.type() === 'error' && !/net::ERR_|WebSocket connection/.test(message.text())) {
        person.complaints.push(message.text());
      }
    });
    await person.page.goto(url);
    return person;
  }

  at(name) {
    return this.page.locator(id(name));
  }

  async enter(name) {
    await this.at('name-input').fill(name);
    await this.at('name-input').press('Enter');
    await this.at('composer').waitFor();
    return this;
  }

  async say(text) {
    await this.at('composer').fill(text);
    await this.at('composer').press('Enter');
  }

  async open(room) {
    await this.page.locator(`${id('room-item')}[data-room="${room}"]`).click();
    await this.shows(() => this.title().then((title) => title.includes(`#${room}`)), `#${room} in the title`);
  }

  title() {
    return this.page.title();
  }

  /** The log as shown on the page. */
  lines() {
    return this.page.$$eval(id('message'), (elements) =>
      elements.map((element) => ({
        id: element.dataset.id,
        offset: Number(element.dataset.offset),
        user: element.dataset.user,
        text: element.querySelector('.text').textContent,
        delivery: element.dataset.delivery,
      })),
    );
  }

  async texts() {
    return (await this.lines()).map((line) => line.text);
  }

  online() {
    return this.page.$$eval(`${id('online-list')} [data-user]`, (elements) => elements.map((e) => e.dataset.user));
  }

  /** The text of an element, also if it is out of view. */
  text(name) {
    return this.at(name).first().textContent();
  }

  shows(condition, what, timeout = 10_000) {
    return eventually(condition, { what, timeout });
  }

  async sees(text) {
    await this.shows(async () => (await this.texts()).includes(text), `the message ${text}`);
  }

  verify() {
    assert.deepEqual(this.complaints, [], 'the page logged errors');
  }
}

/** Asserts that the lines are stored messages without a gap or a repetition. */
function assertWhole(lines) {
  for (const line of lines) assert.equal(line.delivery, 'stored', `${line.text} is ${line.delivery}`);
  assert.equal(new Set(lines.map((line) => line.id)).size, lines.length, 'something is shown twice');
  lines.reduce((before, line) => {
    assert.equal(line.offset, before.offset + 1, `between ${before.text} and ${line.text}`);
    return line;
  });
}

story('two pages on two gateways are one chat, and stay so when a gateway dies', { timeout: 120_000 }, async () => {
  const {
    gateways: [a, b, c],
  } = await cluster({ gateways: 3, presence: 1, args: ['--grace', '2s'] });
  const address = await proxy([a, c]);
  const browser = await launchBrowser();
  const hers = await browser.newContext(DESKTOP);
  const ann = await Person.visit(hers, address.url);
  const bob = await Person.visit(await browser.newContext(DESKTOP), b.url);
  const [annName, bobName] = [unique('ann'), unique('bob')];

  await step('signing in shows the chat and the name of the node', async () => {
    await ann.enter(annName);
    await bob.enter(bobName);
    await ann.shows(async () => (await ann.text('node-badge')) === 'gw-a', 'gw-a as the node');
    await bob.shows(async () => (await bob.text('node-badge')) === 'gw-b', 'gw-b as the node');
    for (const room of ['general', 'help', 'random']) {
      await ann.page.locator(`${id('room-item')}[data-room="${room}"]`).waitFor();
    }
    for (const person of [ann, bob]) {
      await person.shows(async () => (await person.online()).length === 2, 'both names online');
      assert.deepEqual((await person.online()).sort(), [annName, bobName].sort());
    }
  });

  await step('they chat both ways, and HTML is shown as text', async () => {
    await ann.say('hello from a');
    await bob.sees('hello from a');
    const hostile = '<img src=x onerror="document.title=1"><b>bold</b>';
    await bob.say(hostile);
    await ann.sees(hostile);
    assert.equal(await ann.page.locator(`${id('message-log')} img`).count(), 0);
    await ann.shows(async () => (await ann.lines()).every((line) => line.delivery === 'stored'), 'a tick');
    assert.deepEqual(await ann.lines(), await bob.lines());
  });

  await step('typing is shown, and ends', async () => {
    await ann.at('composer').pressSequentially('well');
    await bob.shows(async () => (await bob.text('typing-indicator')).includes(annName), 'who is typing');
    await ann.at('composer').fill('');
    await bob.shows(async () => (await bob.text('typing-indicator')) === '', 'no more typing');
  });

  await step('a room in the background counts what is unread', async () => {
    await bob.open('random');
    await ann.say('psst');
    await bob.shows(async () => (await bob.title()).startsWith('(1)'), '(1) in the title');
    assert.equal(await bob.text('unread-badge'), '1');
    await bob.open('general');
    await bob.sees('psst');
    await bob.shows(async () => !(await bob.title()).startsWith('('), 'nothing unread');
    assert.equal(await bob.at('unread-badge').count(), 0);
  });

  await step('anyone opens a room, and leaves it', async () => {
    const name = unique('room');
    await ann.at('new-room-input').fill(name);
    await ann.at('new-room-input').press('Enter');
    // Each room has its own draft, so wait until the page has switched to the room.
    await ann.shows(async () => (await ann.title()).includes(name), 'the new room');
    await ann.say('first here');
    await ann.shows(async () => (await ann.lines()).at(-1)?.delivery === 'stored', 'a tick');
    await ann.at('leave-room').click();
    await ann.shows(async () => !(await ann.title()).includes(name), 'another room');
    await ann.open('general');
  });

  await step('a second tab is the same user; another browser is refused the name', async () => {
    const tab = await Person.visit(hers, b.url);
    // Another origin has no saved name, so this tab shows the sign-in form; without her secret her name is refused.
    await tab.at('name-input').fill(annName);
    await tab.at('name-input').press('Enter');
    await tab.page.getByText('Somebody else uses that name').waitFor();
    await tab.page.close();
    const second = await Person.visit(hers, address.url);
    await second.sees('hello from a');
    await second.say('from my second tab');
    await ann.sees('from my second tab');
    await bob.sees('from my second tab');
    assert.equal((await bob.online()).filter((name) => name === annName).length, 1);
    second.verify();
    await second.page.close();
  });

  await step('a reload keeps the name, the room and the history', async () => {
    const before = await ann.lines();
    await ann.page.reload();
    await ann.shows(async () => (await ann.lines()).length === before.length, 'the history');
    assert.deepEqual(await ann.lines(), before);
    assert.ok((await ann.title()).includes('#general'));
    await ann.shows(async () => (await ann.online()).includes(annName), 'her own name');
  });

  await step('her gateway is killed: a banner, then another node, each message once', async () => {
    await c.kill9();
    await a.kill9();
    await ann.at('connection-banner').waitFor();
    await bob.say('said while she was away');
    await bob.shows(async () => (await bob.lines()).at(-1).delivery === 'stored', 'a tick');
    await ann.say('written without a server');
    await ann.shows(async () => (await ann.lines()).at(-1)?.delivery === 'pending', 'a waiting message');
    await c.restart();
    await ann.at('connection-banner').waitFor({ state: 'hidden', timeout: 20_000 });
    await ann.shows(async () => (await ann.text('node-badge')) === 'gw-c', 'gw-c as the node');
    await bob.sees('written without a server');
    await ann.sees('said while she was away');
    await ann.say('back again');
    await bob.sees('back again');
    await ann.shows(async () => (await ann.lines()).every((line) => line.delivery === 'stored'), 'all ticks');
    assert.deepEqual(await ann.lines(), await bob.lines());
    assertWhole(await ann.lines());
    assert.equal(await ann.at('history-notice').isVisible(), false);
  });

  await step('a rolling restart moves her to another node without a loss', async () => {
    await a.restart();
    await c.stop();
    await ann.shows(async () => (await ann.text('node-badge')) === 'gw-a', 'gw-a as the node', 20_000);
    await bob.say('moved?');
    await ann.sees('moved?');
    await ann.say('moved.');
    await bob.sees('moved.');
    await ann.shows(async () => (await ann.lines()).every((line) => line.delivery === 'stored'), 'all ticks');
    assert.deepEqual(await ann.lines(), await bob.lines());
    assertWhole(await ann.lines());
  });

  ann.verify();
  bob.verify();
});

story('a phone scrolls through a long history', { timeout: 60_000 }, async () => {
  const {
    gateways: [a],
  } = await cluster({ gateways: 1, presence: 1 });
  const talker = await connect(a, { name: unique('talker') });
  await talker.join('general');
  for (let i = 1; i <= 130; i++) await talker.send('general', `line ${i}`);

  const browser = await launchBrowser();
  const ann = await (await Person.visit(await browser.newContext(PHONE), a.url)).enter(unique('ann'));
  await ann.sees('line 130');
  assert.ok((await ann.lines()).length < 130, 'a first page, not everything');

  await step('scrolling up loads older messages, and the visible ones stay in place', async () => {
    const log = ann.at('message-log');
    const before = (await ann.lines()).length;
    const seen = await log.evaluate((element) => {
      element.scrollTo({ top: 250, behavior: 'instant' });
      const edge = element.getBoundingClientRect().top;
      const rows = [...element.querySelectorAll('[data-testid="message"]')];
      const row = rows.find((one) => one.getBoundingClientRect().top >= edge);
      return { id: row.dataset.id, top: row.getBoundingClientRect().top };
    });
    await ann.shows(async () => (await ann.lines()).length > before, 'more lines');
    const row = ann.page.locator(`[data-id="${seen.id}"]`);
    const moved = (await row.evaluate((element) => element.getBoundingClientRect().top)) - seen.top;
    assert.ok(Math.abs(moved) < 2, `the line in view moved by ${moved} px`);
    await ann.shows(async () => {
      await log.evaluate((element) => element.scrollTo({ top: 0, behavior: 'instant' }));
      return (await ann.lines()).length === 130;
    }, 'all lines');
    assertWhole(await ann.lines());
    await talker.send('general', 'line 131');
    await ann.page.getByText('1 new').click();
    await ann.sees('line 131');
    await ann.shows(() => log.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight < 2), 'the end');
  });

  await step('rooms and people are drawers', async () => {
    const rooms = ann.at('room-list');
    assert.equal(await rooms.isVisible(), false);
    await ann.page.getByRole('button', { name: 'Rooms' }).click();
    await rooms.waitFor();
    await ann.open('help');
    await rooms.waitFor({ state: 'hidden' });
    await ann.page.getByRole('button', { name: 'People' }).click();
    await ann.at('online-list').waitFor();
    await ann.page.keyboard.press('Escape');
    await ann.at('online-list').waitFor({ state: 'hidden' });
    const wide = await ann.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(wide, false, 'the page scrolls sideways');
  });
  ann.verify();
});

if (process.env.ROOMCAST_SCREENSHOTS === '1') {
  story('pictures for the documentation', { timeout: 60_000 }, async () => {
    const folder = fileURLToPath(new URL('../../../docs/img/', import.meta.url));
    await mkdir(folder, { recursive: true });
    const {
      gateways: [a, b],
    } = await cluster({ gateways: 2, presence: 1 });
    const [mira, tomasz, priya] = await Promise.all(
      [
        ['mira', a],
        ['tomasz', b],
        ['priya', b],
      ].map(([name, node]) => connect(node, { name })),
    );
    for (const person of [mira, tomasz, priya]) for (const room of ['general', 'random']) await person.join(room);
    const talk = [
      [mira, 'The new fan-out is on all three nodes since this morning.'],
      [mira, 'Each frame is encoded once per room and node, then shared by every socket.'],
      [tomasz, 'Lovely. Can somebody kill a node while I watch?'],
      [priya, 'Done: kill -9, no goodbye.'],
      [tomasz, 'I saw the banner for a moment, then it went on as if nothing had happened.'],
      [tomasz, 'Nothing missing, nothing twice.'],
      [mira, 'That is the whole idea.'],
    ];
    const browser = await launchBrowser();
    const look = { deviceScaleFactor: 2, locale: 'en-GB' };
    const desktop = await Person.visit(await browser.newContext({ ...DESKTOP, ...look, colorScheme: 'light' }), a.url);
    await desktop.enter('grace');
    await desktop.open('random');
    await desktop.open('general');
    for (const [who, text] of talk) await who.send('general', text);
    await desktop.sees(talk.at(-1)[1]);
    await desktop.say('Shall we try it with a thousand rooms next?');
    await desktop.shows(async () => (await desktop.lines()).at(-1).delivery === 'stored', 'a tick');
    await priya.send('random', 'Lunch at one?');
    await desktop.at('unread-badge').waitFor();
    await tomasz.ask('typing', { room: 'general', typing: true });
    await desktop.shows(async () => (await desktop.text('typing-indicator')) !== '', 'somebody typing');
    await desktop.page.screenshot({ path: `${folder}ui-desktop.png` });

    const phone = await Person.visit(await browser.newContext({ ...PHONE, ...look, colorScheme: 'dark' }), b.url);
    await phone.enter('noor');
    await phone.sees('Shall we try it with a thousand rooms next?');
    await phone.page.screenshot({ path: `${folder}ui-phone.png` });
  });
}
