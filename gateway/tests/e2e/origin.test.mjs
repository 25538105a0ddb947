// A page of another site cannot act for its visitors: `Origin` is checked on polling and on the upgrade.
import assert from 'node:assert/strict';

import { RawSocket, cluster, connect, eventually, pollingUrl, request, sidOf, step, story, upgradeUrl } from './harness.mjs';
import { scrape } from './metrics.mjs';

const OTHER_ORIGINS = ['http://evil.example', 'https://chat.example', 'http://chat.example:8080', 'http://chat.example.evil.example', 'null', 'http://localhost:1', 'garbage'];

const isRefusal = (status) => status >= 400 && status < 500;

async function poll(gateway, origin) {
  return request(pollingUrl(gateway), { headers: origin ? { origin } : {} });
}

async function upgrade(gateway, origin) {
  const socket = new RawSocket(upgradeUrl(gateway), origin ? { headers: { origin } } : {});
  try {
    await socket.frame(/^0\{/);
    return 101;
  } catch {
    return socket.refused;
  }
}

story('origins', { timeout: 60_000 }, async () => {
  const alone = { gateways: 1, redis: false };
  const { gateways: [same] } = await cluster(alone);
  const { gateways: [open] } = await cluster({
    ...alone,
    args: ['--allow-origin', 'http://chat.example', '--allow-origin', 'https://app.example:8443'],
  });

  await step('another origin is refused, on polling and on the upgrade', async () => {
    for (const gateway of [same, open]) {
      for (const origin of [...OTHER_ORIGINS, ...(gateway === same ? ['http://chat.example'] : [])]) {
        const { status, headers } = await poll(gateway, origin);
        assert.ok(isRefusal(status), `polling from ${origin}: ${status}`);
        assert.equal(headers['access-control-allow-origin'], undefined);
        const upgraded = await upgrade(gateway, origin);
        assert.ok(isRefusal(upgraded), `upgrade from ${origin}: ${upgraded}`);
      }
    }
  });

  await step('another origin is refused also with a valid session', async () => {
    const sid = sidOf((await poll(same)).body);
    const headers = { origin: 'http://evil.example' };
    const url = pollingUrl(same, `&sid=${sid}`);
    assert.ok(isRefusal((await request(url, { headers })).status));
    assert.ok(isRefusal((await request(url, { method: 'POST', headers, body: '40' })).status));
  });

  await step('the gateway\'s own origin is accepted', async () => {
    for (const gateway of [same, open]) {
      assert.equal((await poll(gateway, gateway.url)).status, 200);
      assert.equal(await upgrade(gateway, gateway.url), 101);
    }
  });

  await step('requests without an origin are accepted', async () => {
    assert.equal((await poll(same)).status, 200);
    assert.equal(await upgrade(same), 101);
  });

  await step('allowed origins are accepted, with CORS headers', async () => {
    for (const origin of ['http://chat.example', 'https://app.example:8443']) {
      const { status, headers } = await poll(open, origin);
      assert.equal(status, 200, origin);
      assert.equal(headers['access-control-allow-origin'], origin);
      assert.equal(await upgrade(open, origin), 101, origin);
    }
  });

  await step('an official client of an allowed page works', async () => {
    const ann = await connect(open, {
      transports: ['polling', 'websocket'],
      extraHeaders: { origin: 'http://chat.example' },
    });
    await ann.join('general');
    await ann.send('general', 'hi');
  });
});

const PAGE = 'https://chat.example:8443';

/** The status of a POST of a page, whose Origin is `PAGE`: its first GET carries none in browsers, so it proves nothing. */
async function post(gateway, headers) {
  const url = pollingUrl(gateway, `&sid=${sidOf((await poll(gateway)).body)}`);
  return (await request(url, { method: 'POST', headers: { origin: PAGE, ...headers }, body: '40' })).status;
}

story('origins behind a reverse proxy', { timeout: 60_000 }, async () => {
  const alone = { gateways: 1, redis: false };
  const { gateways: [untrusting] } = await cluster({ ...alone, args: ['--trusted-proxy', '10.0.0.0/8,::1'] });
  const { gateways: [trusting] } = await cluster({ ...alone, args: ['--trusted-proxy', '::1', '--trusted-proxy', '127.0.0.0/8'] });
  const withoutPort = { host: 'chat.example' };
  const forwarded = { host: 'upstream', 'x-forwarded-host': 'chat.example:8443', 'x-forwarded-proto': 'https' };

  await step('the default port may be there or not', async () => {
    const headers = { origin: 'https://chat.example' };
    for (const host of ['chat.example', 'chat.example:443']) {
      assert.equal(await post(untrusting, { ...headers, host }), 200, host);
    }
    assert.equal(await post(untrusting, { ...headers, host: 'chat.example:8443' }), 403);
  });

  await step('a trusted proxy may leave out the port, or say what it was asked for', async () => {
    for (const headers of [withoutPort, forwarded]) {
      assert.equal(await post(trusting, headers), 200, JSON.stringify(headers));
      const socket = new RawSocket(upgradeUrl(trusting), { headers: { origin: PAGE, ...headers } });
      await socket.frame(/^0\{/);
    }
    assert.equal(await post(trusting, { ...forwarded, origin: 'https://evil.example:8443' }), 403);
    assert.equal(await post(trusting, { ...forwarded, origin: 'http://chat.example:8443' }), 403, 'a page without TLS');
  });

  await step('another client may not, and the refusal is logged and counted', async () => {
    const name = 'roomcast_origin_refusals_total';
    assert.equal(await post(untrusting, forwarded), 403);
    assert.equal(await post(untrusting, withoutPort), 403);
    assert.ok(isRefusal(await upgrade(untrusting, PAGE)));
    const metrics = await scrape(untrusting);
    assert.equal(metrics.of(`${name}{transport="websocket"}`), 1);
    assert.equal(metrics.of(`${name}{transport="polling"}`), 3, 'one is of the first step');
    const lines = () => untrusting.process.lines.map(({ text }) => text).filter((text) => text.includes('origin refused'));
    await eventually(() => lines().length === 1, { what: 'the first refusal is logged, the others are not' });
    for (const seen of ['https://chat.example', 'chat.example:8443', 'WARN']) {
      assert.ok(lines()[0].includes(seen), `${seen} in ${lines()[0]}`);
    }
  });
});

/** The answer to a preflight. */
const preflight = (gateway, origin) =>
  request(pollingUrl(gateway), {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
  });

story('preflights', { timeout: 60_000 }, async () => {
  const alone = { gateways: 1, redis: false };
  const { gateways: [named] } = await cluster({
    ...alone,
    args: ['--allow-origin', 'http://chat.example', '--allow-header', 'X-Request-Id,x-tenant'],
  });
  const { gateways: [any] } = await cluster({ ...alone, args: ['--allow-origin', '*'] });

  await step('a listed origin may send credentials and the configured headers', async () => {
    const { status, headers } = await preflight(named, 'http://chat.example');
    assert.equal(status, 204);
    assert.equal(headers['access-control-allow-origin'], 'http://chat.example');
    assert.equal(headers['access-control-allow-credentials'], 'true');
    assert.equal(headers['access-control-allow-headers'], 'authorization, content-type, x-request-id, x-tenant');
    assert.equal(headers['access-control-allow-methods'], 'GET, POST');
    assert.equal(headers.vary, 'Origin');
    assert.equal((await preflight(named, 'http://evil.example')).status, 403);
  });

  await step('where any origin is allowed, none may send credentials', async () => {
    for (const { headers } of [await preflight(any, 'http://some.example'), await poll(any, 'http://some.example')]) {
      assert.equal(headers['access-control-allow-origin'], '*');
      assert.equal(headers['access-control-allow-credentials'], undefined);
    }
  });
});
