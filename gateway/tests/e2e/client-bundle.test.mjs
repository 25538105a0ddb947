// The official client that the gateway serves, as tutorials load it: by a script tag, and by an import of another page.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import vm from 'node:vm';

import { cluster, request, step, story } from './harness.mjs';

const installed = new URL('./node_modules/socket.io-client/', import.meta.url);

story('the client that the gateway serves', { timeout: 60_000 }, async () => {
  const { gateways: [gateway] } = await cluster({ gateways: 1, redis: false });
  const get = (file, headers = {}) => request(`${gateway.url}/socket.io/${file}`, { headers });

  await step('the files are those of the published package, with their maps', async () => {
    for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js']) {
      for (const [file, type] of [[name, /^text\/javascript/], [`${name}.map`, /^application\/json/]]) {
        const { status, headers, body } = await get(file);
        assert.equal(status, 200, file);
        assert.match(headers['content-type'], type);
        assert.equal(headers['x-content-type-options'], 'nosniff');
        assert.equal(body, await readFile(new URL(`dist/${file}`, installed), 'utf8'), file);
      }
      assert.ok((await get(name)).body.includes(`sourceMappingURL=${name}.map`));
    }
    assert.equal((await get('socket.io.msgpack.min.js')).status, 404, 'the gateway does not speak msgpack');
  });

  await step('a browser that has them gets 304', async () => {
    const { headers: { etag, 'cache-control': caching } } = await get('socket.io.js');
    const { version } = JSON.parse(await readFile(new URL('package.json', installed), 'utf8'));
    assert.equal(etag, `"${version}"`);
    assert.match(caching, /public, max-age=0/);
    const { status, body } = await get('socket.io.js', { 'if-none-match': etag });
    assert.deepEqual([status, body], [304, '']);
    assert.equal((await get('socket.io.js', { 'if-none-match': '"1.0.0"' })).status, 200);
  });

  await step('pages of other sites may load them, without credentials', async () => {
    const { status, headers } = await get('socket.io.esm.min.js', { origin: 'https://other.example' });
    assert.equal(status, 200);
    assert.equal(headers['access-control-allow-origin'], '*');
    assert.equal(headers['access-control-allow-credentials'], undefined);
  });

  await step('a script tag defines `io`', async () => {
    const { body } = await get('socket.io.min.js');
    const page = vm.createContext({ setTimeout, clearTimeout, URLSearchParams, TextEncoder, TextDecoder });
    vm.runInContext(body, page);
    assert.equal(typeof page.io, 'function');
    assert.equal(typeof page.io.Manager, 'function');
  });
});
