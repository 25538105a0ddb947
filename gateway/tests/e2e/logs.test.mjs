// The log of a whole session, with Roomcast's own targets at debug: every line is JSON, and none contains a message
// text, a secret or a token.
import assert from 'node:assert/strict';

import { cluster, connect, eventually, quiet, rawSocket, refusedConnect, request, step, story, unique } from './harness.mjs';

const OURS = ['roomcast_gateway', 'roomcast_store', 'roomcast_ops', 'roomcast_presence', 'roomcast_protocol'];
const FILTER = ['info', ...OURS.map((name) => `${name}=debug`)].join(',');

story('no log line contains a message text, a secret or a token', { timeout: 60_000 }, async () => {
  const logging = ['--log', FILTER, '--log-format', 'json'];
  const { gateways, presence, redis } = await cluster({
    gateways: 2,
    presence: 1,
    args: [...logging, '--client-stall', '1s', '--grace', '1s'],
    presenceArgs: logging,
  });
  const [a, b] = gateways;
  const lines = [];
  for (const service of [...gateways, ...presence]) {
    // From the first line on, including those before this point.
    lines.push(...service.process.lines.filter(({ stream }) => stream === 'stderr').map(({ text }) => text));
    service.process.onLine = (stream, text) => stream === 'stderr' && lines.push(text);
  }
  // Unique strings, one for each field that may hold private data.
  const words = Object.fromEntries(
    ['text', 'resume', 'token', 'id', 'query', 'badtext', 'given', 'since'].map((what) => [what, unique(`private-${what}`)]),
  );
  const room = unique('logged');

  await step('a session with all kinds of errors', async () => {
    const ann = await connect(a, { name: 'ann', resume: words.resume });
    const bob = await connect(b, { name: 'bob', transports: ['polling'], auth: { username: 'bob', resume: words.resume, token: words.token } });
    for (const client of [ann, bob]) await client.join(room);
    const { offset } = await ann.send(room, words.text, words.id);
    await bob.has(room, offset);
    await ann.send(room, words.text, words.id); // the same once more
    await ann.refused('send_message', { room, text: words.badtext, id: 'x'.repeat(500) }, 'bad_id');
    await ann.refused('send_message', { room, text: { deep: words.badtext } }, 'bad_request');
    await ann.refused(words.badtext, { text: words.badtext }, 'unknown_event');
    await ann.refused('join', { room, since: words.since }, 'bad_request');
    await ann.ok('history', { room });
    await ann.ok('online_users', { room });
    await refusedConnect(b, { name: 'ann', resume: words.given });
    await refusedConnect(b, { auth: { username: 'x'.repeat(500), resume: words.resume, token: words.token } });
    const broken = await rawSocket(a);
    broken.send(`40/native,${JSON.stringify({ username: 'raw', resume: words.given })}`);
    await broken.frame(/^40\/native,/);
    broken.send(`42/native,["send_message",{"text":"${words.badtext}"`, `45-["${words.badtext}"`, `42/native,7["join",{"room":"${room}"`);
    await request(`${a.url}/socket.io/?EIO=3&transport=polling&username=old&resume=${words.query}&token=${words.token}`);
    await request(`${a.url}/socket.io/?EIO=9&transport=websocket&token=${words.token}`);
    await request(`${presence[0].url}/rooms/${room}/users?token=${words.token}`);
    await redis.freeze();
    const lost = ann.ask('send_message', { room, text: words.text }, { timeout: 10_000 });
    await lost.catch(() => {});
    redis.signal('SIGCONT');
    await eventually(async () => (await ann.ask('send_message', { room, text: words.text })).status === 'ok', { what: 'it works again' });
    // Invalid data on the bus, then in the log, which the nodes read after the next gap.
    const [channel] = await redis.command('PUBSUB', 'SHARDCHANNELS', `*${room}*`);
    assert.ok(channel, 'the room has a channel');
    await redis.command('SPUBLISH', channel, `1 m nonsense\n${words.text}`);
    await redis.command('SPUBLISH', channel, `1 m e 999 1 0\n${words.text}`);
    await eventually(() => lines.some((line) => line.includes('unreadable pub/sub message')), { what: 'invalid bus data is logged' });
    const [meta] = await redis.command('KEYS', `*:m:${room}`);
    await redis.command('HSET', meta, 'o', words.text);
    await redis.command('SPUBLISH', channel, 'nonsense');
    await eventually(() => lines.some((line) => line.includes('"heal"')), { what: 'an invalid log is logged' });
    ann.cut();
    await quiet(500);
    await Promise.all([...gateways, ...presence].map((service) => service.stop()));
  });

  await step('every line is JSON and has a target', async () => {
    assert.ok(lines.length > 20, `${lines.length} lines`);
    for (const line of lines) {
      const { timestamp, level, target, message } = JSON.parse(line);
      assert.ok(timestamp && level && target && message !== undefined, line);
    }
    const debug = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 'DEBUG');
    assert.ok(debug.some(({ target }) => target.startsWith('roomcast_gateway')), 'Roomcast logs at debug');
  });
  await step('no line contains private data', async () => {
    for (const [what, word] of Object.entries(words)) {
      const leak = lines.find((line) => line.includes(word));
      assert.equal(leak, undefined, `${what} stands in the log`);
    }
  });
});

story('a process that starts while Redis does not answer warns of it once', { timeout: 60_000 }, async () => {
  const args = ['--log', 'info,roomcast_store=debug', '--log-format', 'json'];
  const { gateways, presence, redis } = await cluster({ gateways: 1, presence: 1, args, presenceArgs: args });
  const services = [...gateways, ...presence];
  await Promise.all(services.map((service) => service.kill9()));
  await redis.freeze();
  const restarted = Promise.all(services.map((service) => service.restart()));
  const levels = (service) =>
    service.process.lines
      .filter(({ stream }) => stream === 'stderr')
      .map(({ text }) => JSON.parse(text))
      .filter(({ message }) => message.startsWith('cannot connect to Redis'))
      .map(({ level }) => level);
  await eventually(() => services.every((service) => levels(service).length >= 3), {
    what: 'three attempts of each failed',
    timeout: 20_000,
  });
  redis.signal('SIGCONT');
  await restarted;
  for (const service of services) {
    const [first, ...later] = levels(service);
    assert.equal(first, 'WARN', service.label);
    assert.deepEqual([...new Set(later)], ['DEBUG'], service.label);
  }
});
