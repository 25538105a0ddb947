// A person in front of a page, of a classic chat or the native one, in a real browser: enters, writes, and reads what the
// page shows.
import assert from 'node:assert/strict';

import { eventually } from './wait.mjs';

export const ROOM = 'general';

/** An image of one pixel. */
export const DOT = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

const byTestId = (name) => `[data-testid="${name}"]`;

/** What a person does on the page of each chat, by the elements of its original. */
const PAGES = {
  native: {
    async enter(page, name) {
      await page.fill(byTestId('name-input'), name);
      await page.press(byTestId('name-input'), 'Enter');
      await page.locator(byTestId('composer')).waitFor();
    },
    say: async (page, text) => (await page.fill(byTestId('composer'), text), page.press(byTestId('composer'), 'Enter')),
    lines: byTestId('message'),
    read: (lines) => lines.map((line) => `${line.dataset.user}: ${line.querySelector('.text').textContent}`),
    line: (name, text) => `${name}: ${text}`,
    online: `${byTestId('online-list')} [data-user]`,
  },
  flocker: {
    async enter(page, name) {
      await page.fill('#username', name);
      await page.click('#rooms [data-room="#general"]');
    },
    say: async (page, text) => (await page.fill('#message', text), page.click('#send')),
    lines: '#messages li',
    line: (name, text) => `${name}${text}`,
    joined: (name) => `System${name} joined ${ROOM}.`,
    left: (name) => `System${name} left ${ROOM}.`,
    online: '#online li',
  },
  abidev: {
    enter: async () => {},
    say: async (page, text) => (await page.fill('#inputarea', text), page.click('#sendbtn')),
    name: (page) => page.evaluate(() => sessionStorage.getItem('abidev-client')),
    lines: '#chat-box p',
    line: (name, text) => `[${name}] : ${text}`,
  },
  'flask-chat-app': {
    async enter(page, name) {
      await page.fill('[name=username]', name);
      await page.fill('[name=room]', ROOM);
      await page.click('text=Submit');
      await page.waitForURL(`**/chat?username=${encodeURIComponent(name)}&room=${ROOM}`);
    },
    say: async (page, text) => (await page.fill('#message_input_form input', text), page.click('text=Send')),
    lines: '#messages div',
    line: (name, text) => `${name}: ${text}`,
    joined: (name) => `${name} has joined the room`,
    left: (name) => `${name} has left the room`,
  },
  ribbit: {
    async enter(page, name) {
      await page.fill('#username', name);
      await page.click('text=Sign in');
      await page.fill('#thread', ROOM);
      await page.click('text=Open');
    },
    say: async (page, text) => (await page.fill('#message', text), page.click('text=Send')),
    lines: '#chat li',
    line: (name, text) => `${name} ${text}`,
  },
  'private-rooms': {
    upper: true,
    async enter(page, name) {
      await page.fill('#user', name);
      await page.fill('#room', ROOM);
      await page.click('#join');
    },
    say: async (page, text) => (await page.fill('#text', text), page.click('#send')),
    lines: '#chatbox p',
    line: (name, text, own) => `${own ? 'YOU' : name}: ${text}`,
    joined: (name) => `New User ${name} joined room ${ROOM.toUpperCase()}`,
    left: (name) => `User ${name} left room ${ROOM.toUpperCase()}`,
  },
};

export class Visitor {
  complaints = [];
  logged = [];
  alerts = [];

  constructor(chat) {
    this.how = PAGES[chat];
  }

  /** In a browser of its own, or, with a context, in one more tab of that. */
  static async visit(browser, chat, url, context) {
    const visitor = new Visitor(chat);
    visitor.context = context ?? (await browser.newContext());
    visitor.page = await visitor.context.newPage();
    visitor.page.setDefaultTimeout(10_000);
    visitor.page.on('pageerror', (error) => visitor.complaints.push(String(error)));
    visitor.page.on('dialog', async (dialog) => (visitor.alerts.push(dialog.message()), await dialog.accept()));
    visitor.page.on('console', (message) => {
      visitor.logged.push(message.text());
      // Refused connections are expected while a gateway is down.
      if (message.type() === 'error' && !/net::ERR_|WebSocket|400/.test(message.text())) visitor.complaints.push(message.text());
    });
    await visitor.page.goto(url);
    return visitor;
  }

  async enter(name) {
    this.name = this.how.upper ? name.toUpperCase() : name;
    await this.how.enter(this.page, name);
    if (this.how.name) this.name = await this.how.name(this.page);
    return this;
  }

  say(text) {
    return this.how.say(this.page, text);
  }

  /** The lines of the log, without their times. */
  lines() {
    if (this.how.read) return this.page.$$eval(this.how.lines, this.how.read);
    return this.page.$$eval(this.how.lines, (elements) =>
      elements.map((element) => {
        const copy = element.cloneNode(true);
        copy.querySelectorAll('time').forEach((time) => time.remove());
        return copy.textContent;
      }),
    );
  }

  /** Waits for a message of somebody, or of this visitor. */
  sees(name, text) {
    const line = this.how.line(name, text, name === this.name);
    return eventually(async () => (await this.lines()).includes(line), { what: `${this.name} sees ${line}`, timeout: 20_000 });
  }

  /** Waits until the log shows a line. */
  shows(line) {
    return eventually(async () => (await this.lines()).includes(line), { what: `${this.name} is shown: ${line}` });
  }

  /** How often the log shows a line. */
  async count(line) {
    return (await this.lines()).filter((shown) => shown === line).length;
  }

  /** Waits until the log shows an image of one pixel from this address, for people who do not see it as `alt`. */
  draws(url, alt) {
    const drawn = ([lines, url, alt]) =>
      [...document.querySelectorAll(`${lines} img`)].some(
        (image) => image.src === new URL(url, location.href).href && image.alt === alt && image.naturalWidth === 1,
      );
    const what = `${this.name} is shown the image ${url}`;
    return eventually(() => this.page.evaluate(drawn, [this.how.lines, url, alt]), { what });
  }

  /** Waits until the list of users has exactly these. */
  lists(...names) {
    const expected = names.sort().join();
    const listed = () => this.page.$$eval(this.how.online, (items) => items.map((item) => item.dataset.user ?? item.textContent));
    return eventually(async () => (await listed()).sort().join() === expected, { what: `${this.name} is shown ${expected} as online` });
  }

  verify() {
    assert.deepEqual(this.complaints, [], `the page of ${this.name} logged errors`);
  }
}
