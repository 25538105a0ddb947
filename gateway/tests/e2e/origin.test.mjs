// A page of another site cannot act for its visitors: `Origin` is checked on polling and on the upgrade.
import assert from 'node:assert/strict';

import { RawSocket, cluster, connect, pollingUrl, request, sidOf, step, story, upgradeUrl } from './harness.mjs';

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
