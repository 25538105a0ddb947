// Which vocabulary the namespace `/` speaks, and what is logged of those who use it.
import assert from 'node:assert/strict';

import { Front, chats, cluster, connect, eventually, step, story, unique } from './harness.mjs';

/** A room and names as each chat has them: one of them has upper case only. */
const upper = (chat, name) => (chat === 'private-rooms' ? name.toUpperCase() : name);

story('with --dialect the namespace / speaks it, and /native stays', { timeout: 60_000 }, async () => {
  for (const chat of chats) {
    const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args: ['--dialect', chat] });
    const room = chat === 'abidev' ? 'general' : upper(chat, unique('room'));
    const nat = await connect(gateway, { name: 'nat' });
    await nat.join(room);
    const ann = await new Front(gateway, chat, { name: upper(chat, 'ann'), namespace: '/' }).join(room);
    const bob = await new Front(gateway, chat, { name: upper(chat, 'bob') }).join(room);
    // Until it is heard: a chat without rooms does not say when a connection hears it.
    const heard = () => bob.shown.some(([name, text]) => name === ann.name && text === 'hello');
    await eventually(async () => {
      assert.equal((await ann.say('hello')).status, 'ok', chat);
      return heard();
    }, { every: 100 });
    await nat.send(room, 'welcome');
    for (const front of [ann, bob]) await front.sees('nat', 'welcome');
  }
});

story('with --dialect auto the namespace / speaks the chat of each front end', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args: ['--dialect', 'auto'] });
  const nat = await connect(gateway, { name: 'nat', namespace: '/' });
  await nat.join('general');
  const front = (chat, name, options) => new Front(gateway, chat, { name, namespace: '/', ...options });
  const fronts = chats.map((chat, n) => front(chat, upper(chat, `u${n}`)));
  /** What each is shown in the vocabulary of the chat without rooms. */
  const heard = fronts.map(({ socket }) => {
    const texts = [];
    socket.on('message receive', ({ message }) => texts.push(message));
    return texts;
  });

  await step('who has no name hears the shared room, whatever its client', async () => {
    const undecided = [0, 1, 2, 4].map((n) => heard[n]);
    await eventually(async () => (await nat.send('general', 'welcome'), undecided.every((texts) => texts.includes('welcome'))), { every: 100 });
    assert.deepEqual(heard[3], [], 'ribbit connects with a name');
    fronts[1].emit(['dance', {}]);
    await fronts[1].until('is told that it is of no chat', () => fronts[1].told.some((line) => line.startsWith('no chat is known by')));
  });

  await step('the first event decides', async () => {
    for (const [n, one] of fronts.entries()) {
      await one.join(upper(chats[n], 'general'));
      assert.equal((await one.say(`hello from ${n}`)).status, 'ok', one.label);
    }
    const before = heard.map((texts) => texts.length);
    await nat.send('general', 'to all five');
    for (const [n, one] of fronts.entries()) {
      await one.sees('nat', 'to all five');
      if (chats[n] !== 'abidev') assert.equal(heard[n].length, before[n], `${one.label} is sent one vocabulary only`);
    }
    assert.deepEqual(nat.room('general').texts.filter((text) => text.startsWith('hello')), chats.map((_, n) => `hello from ${n}`));
    // For good: an event of another chat is unknown now.
    assert.equal((await fronts[0].ask(['message broadcast', { message: 'hi' }])).code, 'unknown_event');
  });

  await step('auth with a name is native, in the query of old clients, too', async () => {
    const old = front('abidev', 'old', { auth: { username: 'old', resume: 'its own' } });
    const welcomed = new Promise((resolve) => old.socket.on('welcome', resolve));
    assert.equal((await welcomed).user, 'old');
    assert.equal((await old.ask(['join', { room: 'general' }])).online.users.includes('old'), true);
  });

  await step('/ is the native page, and the others stay at their addresses', async () => {
    const page = async (path) => (await fetch(gateway.url + path)).text();
    assert.equal(await page('/'), await page('/native/'));
    for (const chat of chats) assert.notEqual(await page(`/classic/${chat}`), await page('/'));
  });
});

story('with --log-chat what users do is logged, and no text', { timeout: 60_000 }, async () => {
  const args = ['--log-chat', '--log-format', 'json'];
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false, args });
  const { gateways: [silent] } = await cluster({ gateways: 1, redis: false, args: args.slice(1) });
  const [room, text] = [unique('room'), unique('private')];
  for (const target of [gateway, silent]) {
    const ann = await new Front(target, 'flask-chat-app', { name: 'ann' }).join(room);
    await ann.say(text);
    await ann.leave();
    await ann.join(room);
    ann.socket.disconnect();
  }
  const logged = (target) =>
    target.process.lines.filter(({ text }) => text.startsWith('{')).map(({ text }) => JSON.parse(text)).filter(({ event }) => event);
  await eventually(() => logged(gateway).some(({ event }) => event === 'disconnect'), { what: () => JSON.stringify(logged(gateway)) });
  const lines = logged(gateway);
  assert.deepEqual(lines.map(({ event }) => event), ['connect', 'join', 'message', 'leave', 'join', 'leave', 'disconnect']);
  for (const { event, user, room: where, session } of lines) {
    assert.match(session, /^[0-9a-f]{12}$/);
    assert.equal(session, lines[0].session);
    assert.equal(user, event === 'connect' ? undefined : 'ann');
    assert.equal(where, /connect/.test(event) ? undefined : room);
  }
  assert.ok(!gateway.process.lines.some((line) => line.text.includes(text)), 'a text is never logged');
  assert.deepEqual(logged(silent), []);
});
