// Who is who on the pages of the classic chats, in real Chromium: a browser is one person by its cookie, in every tab, after
// a reload, and on another gateway. And what others are told where a name changes hands.
import assert from 'node:assert/strict';

import { launchBrowser } from './browser.mjs';
import { Front, chats, cluster, connect, eventually, proxy, quiet, refusedConnect, step, story, unique } from './harness.mjs';
import { ROOM, Visitor } from './pages.mjs';

/** What others are told of a change is told within this time. */
const PRESENCE_DELAY = 2_000;

/** What a native member was told of a user, as a list of `joined` and `left`. */
const told = (member, user) => member.room(ROOM).news.filter((item) => item.user === user).map(({ kind }) => kind);

/** Says something until it is heard: a page that is on its way back may not be in the room yet. Returns the message. */
async function heard(member, visitor, what) {
  return eventually(async () => {
    const text = unique(what);
    await visitor.say(text);
    return eventually(() => member.room(ROOM).messages.find(({ user, text: found }) => user === visitor.name && found === text), { timeout: 2_000 });
  }, { timeout: 30_000, every: 200, what: () => `${visitor.name}: ${what}` });
}

for (const chat of chats) {
  story(`a browser is one person on the page of ${chat}`, { timeout: 120_000 }, async () => {
    const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--lease', '4s'] });
    const address = await proxy([a, b]);
    const page = `${address.url}/classic/${chat}`;
    const browser = await launchBrowser();
    const nat = await connect(b, { name: 'nat' });
    await nat.join(ROOM);
    const name = 'ann';
    const ann = await (await Visitor.visit(browser, chat, page)).enter(name);

    await step('its name is proved', async () => {
      const message = await heard(nat, ann, 'hello');
      assert.equal(message.verified, undefined);
      await nat.sees(ROOM, ann.name);
      const cookies = await ann.context.cookies(`${address.url}/socket.io/`);
      assert.equal(cookies.length, 1);
      const [{ name: cookie, value, httpOnly, sameSite, path, secure, expires }] = cookies;
      assert.deepEqual([cookie, httpOnly, sameSite, path, secure, expires], ['roomcast', true, 'Strict', '/socket.io/', false, -1]);
      assert.match(value, /^[0-9a-f]{32}$/);
      assert.equal(await ann.page.evaluate(() => document.cookie), '');
      const kept = await ann.page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
      assert.ok(!kept.includes(value));
    });

    // This page's names are made up by each tab, and nobody else can be asked to take one.
    if (chat !== 'abidev') {
      await step('two tabs are one person', async () => {
        const tab = await (await Visitor.visit(browser, chat, page, ann.context)).enter(name);
        assert.equal((await heard(nat, tab, 'from the second tab')).verified, undefined);
        await tab.page.close();
        await heard(nat, ann, 'from the first tab');
        await quiet(PRESENCE_DELAY);
        assert.deepEqual(told(nat, ann.name), ['joined'], 'one of two tabs was closed');
        tab.verify();
      });

      await step('another browser is refused the name, in the chat\'s own way', async () => {
        const eve = await Visitor.visit(browser, chat, page);
        if (chat === 'ribbit') await eve.page.fill('#username', name).then(() => eve.page.click('text=Sign in'));
        else await eve.enter(name);
        await eventually(async () => /is online; choose another name|is somebody else/.test(await eve.page.textContent('body')), {
          what: 'the refusal is shown',
        });
        await eve.page.close();
        if (chat !== 'ribbit') {
          const open = new Front(a, chat, { name: ann.name });
          await assert.rejects(open.join(ROOM), /username_taken/, 'without a cookie neither');
          open.socket.disconnect();
        }
        assert.equal((await refusedConnect(b, { name: ann.name })).message, 'username_taken');
      });
    }

    await step('it is the same person after a reload', async () => {
      await ann.page.reload();
      // The name of a page of flask-chat-app is in its address.
      if (chat !== 'flask-chat-app') await ann.enter(name);
      assert.equal((await heard(nat, ann, 'after the reload')).verified, undefined);
      await quiet(PRESENCE_DELAY);
      // The page of flask-chat-app says that it leaves, and is back at once.
      await eventually(() => told(nat, ann.name).at(-1) === 'joined');
      const changes = told(nat, ann.name);
      if (chat !== 'flask-chat-app') assert.deepEqual(changes, ['joined']);
    });

    await step('it is the same person on another gateway after its own died', async () => {
      const before = told(nat, ann.name).length;
      await a.kill9();
      assert.equal((await heard(nat, ann, 'on another gateway')).verified, undefined);
      // Longer than the lease of the dead gateway, whose users leave then.
      await quiet(4_000 + PRESENCE_DELAY);
      assert.deepEqual(told(nat, ann.name).slice(before), [], 'nobody noticed');
      assert.ok(nat.room(ROOM).online.has(ann.name));
    });

    ann.verify();
  });
}

story('a tab that is closed is a leave after the grace', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args: ['--grace', '2s'] });
  const browser = await launchBrowser();
  const nat = await connect(gateway, { name: 'nat' });
  await nat.join(ROOM);
  const ann = await (await Visitor.visit(browser, 'flocker', `${gateway.url}/classic/flocker`)).enter('ann');
  await nat.sees(ROOM, 'ann');
  const at = performance.now();
  await ann.page.close();
  // In the grace the name waits for this browser.
  await assert.rejects(new Front(gateway, 'flocker', { name: 'ann' }).join(ROOM), /username_taken/);
  const left = (await nat.seesLeave(ROOM, 'ann')) - at;
  assert.ok(left >= 1_900, `${left} ms`);
  await eventually(async () => new Front(gateway, 'flocker', { name: 'ann' }).join(ROOM), { every: 200, what: 'the name is free' });
});

story('a page is the same person under the name that it changed to', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const browser = await launchBrowser();
  const nat = await connect(gateway, { name: 'nat' });
  await nat.join(ROOM);
  const ann = await (await Visitor.visit(browser, 'flocker', `${gateway.url}/classic/flocker`)).enter('ann');
  await nat.sees(ROOM, 'ann');
  await ann.enter('anna');
  await nat.sees(ROOM, 'anna');
  await nat.seesLeave(ROOM, 'ann');
  assert.equal((await heard(nat, ann, 'hello')).verified, undefined);
  await new Front(gateway, 'flocker', { name: 'ann' }).join(ROOM);
});

story('a browser that keeps no cookies has an open name', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const browser = await launchBrowser();
  const nat = await connect(gateway, { name: 'nat' });
  await nat.join(ROOM);
  const ann = await Visitor.visit(browser, 'flocker', `${gateway.url}/classic/flocker`);
  await ann.page.route('**/visitor.js', (route) => route.fulfill({ contentType: 'text/javascript', body: '' }));
  await ann.context.clearCookies();
  await ann.page.reload();
  await ann.enter('ann');
  assert.equal((await heard(nat, ann, 'hello')).verified, false);
  // It has its name back at once, and nobody is told.
  await ann.page.reload();
  await ann.enter('ann');
  assert.equal((await heard(nat, ann, 'hello again')).verified, false);
  await quiet(PRESENCE_DELAY);
  assert.deepEqual(told(nat, 'ann'), ['joined']);
});

story('an open name that changes hands', { timeout: 90_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--grace', '15s'] });
  const nat = await connect(a, { name: 'nat' });
  await nat.join(ROOM);
  const watcher = await new Front(b, 'flocker', { name: 'watcher' }).join(ROOM);
  /** An open connection that entered and dropped. */
  const dropped = async (gateway, name) => {
    const front = await new Front(gateway, 'flocker', { name, transports: ['websocket'], reconnection: false }).join(ROOM);
    await nat.sees(ROOM, name);
    front.cut();
    await front.until('is gone', () => front.gone);
  };
  const takers = {
    same: (gateway, name) => new Front(gateway, 'flocker', { name }).join(ROOM),
    other: (gateway, name) => new Front(gateway, 'flask-chat-app', { name }).join(ROOM),
    native: async (gateway, name) => (await connect(gateway, { name })).join(ROOM),
    cookie: (gateway, name) =>
      new Front(gateway, 'flocker', { name, transports: ['websocket'], extraHeaders: { origin: gateway.url, cookie: `roomcast=${'0123456789abcdef'.repeat(2)}` } }).join(ROOM),
  };
  const cases = Object.entries(takers).flatMap(([kind, take]) =>
    Object.entries({ here: a, elsewhere: b }).map(([place, gateway]) => ({ kind, take, gateway, name: `${kind}-${place}` })),
  );
  await Promise.all(
    cases.map(async ({ kind, take, gateway, name }) => {
      await dropped(a, name);
      // The gateway may notice later than the client that it is gone.
      await eventually(async () => (await take(gateway, name), true), { timeout: 15_000, every: 200, what: `${name} is taken` });
      if (kind !== 'same') await eventually(() => told(nat, name).length === 3, { what: () => `${name}: ${told(nat, name)}` });
    }),
  );
  await quiet(PRESENCE_DELAY);
  for (const { kind, name } of cases) {
    await step(`taken by ${name}`, () => {
      assert.deepEqual(told(nat, name), kind === 'same' ? ['joined'] : ['joined', 'left', 'joined']);
      assert.ok(nat.room(ROOM).online.has(name));
      const lines = [watcher.count(`${name} joined ${ROOM}.`), watcher.count(`${name} left ${ROOM}.`)];
      assert.deepEqual(lines, kind === 'same' ? [1, 0] : [2, 1]);
    });
  }
});

story('an open name after the crash of its gateway: who comes back under it never was away', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--lease', '3s', '--grace', '1s'] });
  const address = await proxy([a, b]);
  const nat = await connect(b, { name: 'nat' });
  await nat.join(ROOM);
  const watcher = await new Front(b, 'flask-chat-app', { name: 'watcher' }).join(ROOM);
  const names = ['ann', 'ben', 'cyd', 'dan'];
  const fronts = names.map((name) => new Front(address, 'flask-chat-app', { name }));
  // As its page does on every connect.
  for (const front of fronts) front.socket.on('connect', () => front.emit(front.chat.join(front.name, ROOM)));
  const gone = await new Front(a, 'flask-chat-app', { name: 'gone' }).join(ROOM);
  await nat.sees(ROOM, ...names, 'gone');
  await a.kill9();
  gone.socket.disconnect();
  await nat.seesLeave(ROOM, 'gone', 20_000);
  for (const front of fronts) {
    await eventually(async () => (await nat.send(ROOM, 'are you there?'), front.shown.some(([, text]) => text === 'are you there?')), {
      timeout: 20_000,
      every: 200,
      what: `${front.name} is back`,
    });
  }
  await quiet(PRESENCE_DELAY);
  for (const name of names) {
    assert.deepEqual(told(nat, name), ['joined'], name);
    const lines = [watcher.count(`${name} join_room_announcement`), watcher.count(`${name} leave_room_announcement`)];
    assert.deepEqual(lines, [1, 0], name);
  }
});

story('an open front end of 000 joins by its next message, through another gateway', { timeout: 60_000 }, async () => {
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args: ['--lease', '2s'] });
  const address = await proxy([a, b]);
  const nat = await connect(b, { name: 'nat' });
  await nat.join(ROOM);
  const ann = await new Front(address, 'flocker', { name: 'ann' }).join(ROOM);
  const carl = await new Front(address, 'private-rooms', { name: 'CARL' }).join(ROOM);
  await nat.sees(ROOM, 'ann', 'CARL');
  await a.kill9();
  for (const front of [ann, carl]) await front.until('is connected again', () => front.gone && front.socket.connected);
  const ack = await eventually(async () => {
    const answer = await ann.say('I am back');
    return answer.status === 'ok' && answer;
  }, { timeout: 20_000, every: 200 });
  await nat.has(ROOM, ack.offset);
  await carl.ask(['chat', { event: 'chat', text: 'hi' }]);
  await carl.until('is told', () => carl.told.some((line) => line.startsWith('Join again: ')));
});
