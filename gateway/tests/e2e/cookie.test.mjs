// The cookie of pages that gateways serve for the classic chats: to whom it is given, and for whom it is read. And the
// hosts that are served.
import assert from 'node:assert/strict';

import { Front, RawSocket, cluster, eventually, pollingUrl, refusedConnect, request, sidOf, step, story, unique, upgradeUrl } from './harness.mjs';
import { scrape } from './metrics.mjs';

const alone = { gateways: 1, redis: false };
const SCRIPT = '/socket.io/visitor.js';
const newCookie = () => `roomcast=${Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16)).join('')}`;

/** The cookie that an answer gives, with its attributes; undefined if none. */
async function given(gateway, headers = {}, path = SCRIPT) {
  const answer = await request(gateway.url + path, { headers });
  assert.equal(answer.status, 200, path);
  const cookies = answer.headers['set-cookie'] ?? [];
  assert.ok(cookies.length <= 1);
  return cookies[0];
}

story('who is given the cookie', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ ...alone, args: ['--allow-origin', '*,http://good.example', '--log', 'trace'] });
  const { gateways: [behind] } = await cluster({ ...alone, args: ['--trusted-proxy', '127.0.0.0/8', '--public-host', 'chat.example'] });

  await step('a page of the gateway, once', async () => {
    const first = await given(gateway);
    assert.match(first, /^roomcast=[0-9a-f]{32}; Path=\/socket\.io\/; HttpOnly; SameSite=Strict$/);
    const second = await given(gateway, { 'sec-fetch-site': 'same-origin', host: `localhost:${gateway.port}` });
    assert.notEqual(second, first);
    const [pair] = first.split(';');
    assert.equal(await given(gateway, { cookie: `other=1; ${pair}` }), undefined, 'it has one');
    assert.equal(await given(gateway, { cookie: `${pair}; ${second.split(';')[0]}` }), undefined, 'it has two');
    assert.ok(await given(gateway, { cookie: 'roomcast=mine' }), 'what is none of ours is replaced');
    const { headers } = await request(gateway.url + SCRIPT);
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['access-control-allow-origin'], undefined);
  });

  await step('no page of another origin, and none at a name that anybody may have', async () => {
    for (const site of ['cross-site', 'same-site', 'none']) assert.equal(await given(gateway, { 'sec-fetch-site': site }), undefined, site);
    for (const origin of ['http://good.example', 'http://evil.example', 'null', `http://127.0.0.1:${gateway.port + 1}`]) {
      assert.equal(await given(gateway, { origin }), undefined, origin);
    }
    for (const host of ['chat.example', 'localhost.evil.example', '127.0.0.1.evil.example']) {
      assert.equal(await given(gateway, { host }), undefined, host);
    }
    assert.ok(await given(behind, { host: 'chat.example' }), 'a name that is known to be ours');
  });

  await step('by nothing but the script that pages load for it', async () => {
    const root = `&${new URLSearchParams({ x: 1 })}`;
    for (const path of ['/', '/classic/flocker', '/chat?username=a&room=b', '/socket.io/socket.io.js', `/socket.io/?EIO=4&transport=polling${root}`]) {
      assert.equal(await given(gateway, { 'sec-fetch-site': 'same-origin' }, path), undefined, path);
    }
  });

  await step('it is Secure where a trusted proxy terminated TLS', async () => {
    const through = (proto) => ({ host: 'upstream', 'x-forwarded-host': 'chat.example', 'x-forwarded-proto': proto });
    assert.match(await given(behind, through('https')), /; SameSite=Strict; Secure$/);
    assert.match(await given(behind, through('http')), /; SameSite=Strict$/);
    assert.match(await given(gateway, { 'x-forwarded-proto': 'https' }), /; SameSite=Strict$/, 'anybody can say so');
  });
});

/** Whether a connection is the person with the cookie, who is connected under this name. */
async function isPerson(target, name, { headers, transports = ['websocket'] }) {
  const front = new Front(target, 'flocker', { name, extraHeaders: headers, transports });
  try {
    await front.join('general');
    return true;
  } catch (error) {
    assert.match(String(error), /username_taken/);
    return false;
  } finally {
    front.socket.disconnect();
  }
}

story('for whom the cookie is read', { timeout: 90_000 }, async () => {
  const args = ['--allow-origin', '*,http://good.example', '--log', 'trace', '--log-chat', '--lease', '2s'];
  const { gateways: [a, b] } = await cluster({ gateways: 2, presence: 1, args });
  const { gateways: [named] } = await cluster({ ...alone, args: ['--public-host', 'chat.example'] });
  const cookie = newCookie();
  const own = (gateway) => ({ origin: gateway.url, cookie });
  const name = unique('ann');
  for (const gateway of [a, named]) {
    await new Front(gateway, 'flocker', { name, extraHeaders: gateway === a ? own(a) : { cookie, host: 'chat.example', origin: 'http://chat.example' }, transports: ['websocket'] }).join('general');
  }

  await step('the own page, with other cookies, on every gateway and transport', async () => {
    for (const gateway of [a, b]) {
      for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
        const headers = { ...own(gateway), cookie: `a=b; ${cookie}; c=d` };
        assert.ok(await isPerson(gateway, name, { headers, transports }), transports.join());
      }
    }
  });

  await step('a page that is listed by its name', async () => {
    assert.ok(await isPerson(b, name, { headers: { origin: 'http://good.example', cookie } }));
  });

  await step('nobody else', async () => {
    const others = [
      [{ cookie }, 'without an origin'],
      [{ cookie, origin: 'http://evil.example' }, 'a page that is allowed by *'],
      [{ cookie, origin: 'null' }, 'a page without an origin of its own'],
      [{ cookie, origin: `http://127.0.0.1:${b.port + 1}` }, 'a page at another port'],
      [{ cookie, origin: 'http://chat.example', host: 'chat.example' }, 'a name that anybody may have'],
      [{ cookie: `${cookie}; ${newCookie()}`, origin: b.url }, 'two cookies'],
      [{ cookie: newCookie(), origin: b.url }, 'another person'],
      [{ origin: b.url }, 'no cookie'],
    ];
    for (const [headers, what] of others) {
      for (const transports of [['websocket'], ['polling']]) assert.ok(!(await isPerson(b, name, { headers, transports })), what);
    }
  });

  await step('on a name that is known to be ours', async () => {
    const at = (host) => ({ headers: { cookie, host, origin: `http://${host}` } });
    assert.ok(await isPerson(named, name, at('chat.example')));
    assert.ok(await isPerson(named, name, at('chat.example:8080')));
  });

  await step('not in the native namespace', async () => {
    const error = await refusedConnect(b, { name, extraHeaders: own(b) });
    assert.equal(error.message, 'username_taken');
  });

  await step('also where requests of one session reach several gateways', async () => {
    const url = pollingUrl(a, `&sid=${sidOf((await request(pollingUrl(a))).body)}`);
    const post = (body, headers) => request(url.replace(a.url, b.url), { method: 'POST', headers, body });
    assert.equal((await post('40/flocker,', { origin: b.url, cookie })).body, 'ok');
    assert.match((await request(url)).body, /^40\/flocker,/);
    assert.equal((await post(`42/flocker,7${JSON.stringify(['join', { username: name, room: 'general' }])}`, { origin: b.url })).body, 'ok');
    const heard = [];
    await eventually(async () => (heard.push((await request(url)).body), /43\/flocker,7\[/.test(heard.join())), { what: () => heard.join() });
    assert.match(heard.join(), /43\/flocker,7\[\{"status":"ok"/);
  });

  await step('its value is in no log line', async () => {
    for (const gateway of [a, b]) {
      assert.ok(gateway.process.lines.some(({ text }) => /TRACE|DEBUG/.test(text)));
      assert.ok(!gateway.process.lines.some(({ text }) => text.includes(cookie.slice(9))));
    }
  });
});

story('with --public-host other hosts are refused', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ ...alone, args: ['--public-host', 'chat.example,127.0.0.2'] });
  const get = (path, host, options = {}) => request(gateway.url + path, { ...options, headers: { host, ...options.headers } });
  const ours = ['chat.example', 'CHAT.example.:8443', '127.0.0.2'];
  const others = [`127.0.0.1:${gateway.port}`, 'localhost', 'evil.example', 'chat.example.evil.example'];

  await step('every address of the public listener', async () => {
    for (const path of ['/', '/classic/flocker', SCRIPT, '/socket.io/socket.io.js', '/socket.io/?EIO=4&transport=polling', '/nowhere']) {
      for (const host of ours) assert.equal((await get(path, host)).status, path === '/nowhere' ? 404 : 200, `${host}${path}`);
      for (const host of others) assert.equal((await get(path, host)).status, 421, `${host}${path}`);
    }
    assert.equal(JSON.parse((await get('/', 'evil.example')).body).code, 'unknown_host');
    assert.equal(JSON.parse((await get('/socket.io/?EIO=4&transport=polling', 'evil.example')).body).code, 4);
    const sid = sidOf((await get('/socket.io/?EIO=4&transport=polling', ours[0])).body);
    const post = (host) => get(`/socket.io/?EIO=4&transport=polling&sid=${sid}`, host, { method: 'POST', body: '40' });
    assert.equal((await post('evil.example')).status, 421);
    assert.equal((await post(ours[0])).status, 200);
    for (const [host, refused] of [['evil.example', 421], [ours[0], undefined]]) {
      const socket = new RawSocket(upgradeUrl(gateway), { headers: { host } });
      await eventually(() => socket.closed || socket.frames.length > 0);
      assert.equal(socket.refused, refused, host);
    }
  });

  await step('a page whose origin is another host is not the own one', async () => {
    const url = '/socket.io/?EIO=4&transport=polling';
    assert.equal((await get(url, ours[0], { headers: { origin: 'http://chat.example' } })).status, 200);
    assert.equal((await get(url, ours[0], { headers: { origin: 'http://evil.example' } })).status, 403);
  });

  await step('operators are served at any address, and see the refusals', async () => {
    assert.equal((await request(`${gateway.adminUrl}/livez`, { headers: { host: 'anything' } })).status, 200);
    assert.ok((await scrape(gateway)).of('roomcast_host_refusals_total') > 20);
    assert.ok(gateway.process.lines.some(({ text }) => text.includes('host refused') && text.includes('127.0.0.1')));
  });
});

story('nobody is called like the server', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster(alone);
  for (const name of ['System', 'SYSTEM', '\u{ff33}ystem']) {
    assert.equal((await refusedConnect(gateway, { name })).message, 'bad_username', name);
    const ribbit = new Front(gateway, 'ribbit', { name });
    let refused;
    ribbit.socket.on('connect_error', ({ message }) => (refused = message));
    await eventually(() => refused === 'bad_username', { what: () => `ribbit is refused: ${refused}` });
    for (const chat of ['flocker', 'flask-chat-app', 'private-rooms']) {
      await assert.rejects(new Front(gateway, chat, { name }).join('general'), /bad_username/, `${chat} ${name}`);
    }
    const guest = new Front(gateway, 'abidev', { name });
    assert.equal((await guest.say('hi')).code, 'bad_username');
  }
});
