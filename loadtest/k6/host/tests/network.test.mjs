// k6/http and k6/websockets of the host, against servers on loopback.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpServer, run, webSocketServer } from './harness.mjs';

const lines = ({ stderr }) => [...stderr.matchAll(/> (.*?)  source=console/g)].map(([, line]) => line);
const script = (body, more = '') => `
  import http from 'k6/http';
  import { WebSocket, Blob } from 'k6/websockets';
  const say = (...values: unknown[]) => console.log('>', ...values);
  ${more}
  export default async function () { ${body} }
`;

test('requests are synchronous, and their responses have the shape of those of k6', async (t) => {
  const url = await httpServer(t, (request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      response.setHeader('x-method', request.method);
      response.setHeader('content-type', 'application/json');
      response.statusCode = request.url === '/missing' ? 404 : 200;
      response.end(JSON.stringify({ body: Buffer.concat(chunks).toString(), type: request.headers['content-type'] ?? '', list: [{ n: 7 }] }));
    });
  });
  const result = await run(t, script(`
    const got = http.get(\`\${__ENV.URL}/\`, { tags: { kind: 'first' } });
    say(got.status, got.status_text, got.proto, got.headers['X-Method'], got.json('list.0.n'), got.error_code, got.remote_ip);
    say(got.timings.duration > 0, got.timings.waiting > 0, typeof got.body);
    const posted = http.post(\`\${__ENV.URL}/\`, { a: '1 2', b: 'ü' });
    say((posted.json() as any).body, (posted.json() as any).type);
    say(http.put(\`\${__ENV.URL}/\`, new Uint8Array([104, 105]).buffer).json('body'), http.del(\`\${__ENV.URL}/\`).headers['X-Method']);
    const missing = http.get(\`\${__ENV.URL}/missing\`, { responseType: 'binary' });
    say(missing.status, missing.error_code, missing.body instanceof ArrayBuffer);
    say(http.get(\`\${__ENV.URL}/\`, { responseType: 'none' }).body);
    const [one, two] = http.batch([\`\${__ENV.URL}/\`, ['POST', \`\${__ENV.URL}/\`, 'x']]);
    say(one.headers['X-Method'], two.json('body'));
    const later = await http.asyncRequest('PATCH', \`\${__ENV.URL}/\`, 'y');
    say(later.headers['X-Method'], later.json('body'));
    try { got.html(); } catch (error) { say((error as Error).message); }
    try { http.file('x'); } catch (error) { say((error as Error).message); }
    try { http.get(__ENV.URL, { auth: 'ntlm' }); } catch (error) { say((error as Error).message); }
  `, "export const options = { thresholds: { 'http_reqs{kind:first}': ['count==1'], 'http_req_failed{status:404}': ['rate==1'], http_req_duration: ['max<10000'] } };"), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), [
    '200 200 OK HTTP/1.1 GET 7 0 127.0.0.1',
    'true true string',
    'a=1+2&b=%C3%BC application/x-www-form-urlencoded',
    'hi DELETE',
    '404 1404 true',
    'null',
    'GET x',
    'PATCH y',
    'Response.html is part of k6, but not of the host that runs this script: use k6, or do without it',
    'file of k6/http is part of k6, but not of the host that runs this script: use k6, or do without it',
    'the parameter "auth" of requests is not part of the host that runs this script',
  ]);
  assert.equal(result.summary.metrics.http_reqs.values.count, 9);
});

test('redirects, cookies, and which responses count as failed', async (t) => {
  const url = await httpServer(t, (request, response) => {
    if (request.url === '/login') return response.writeHead(302, { 'set-cookie': 'session=abc; Path=/; HttpOnly', location: '/home' }).end();
    if (request.url === '/loop') return response.writeHead(302, { location: '/loop' }).end();
    return response.end(`${request.method} ${request.url} ${request.headers.cookie ?? 'no cookie'}`);
  });
  const result = await run(t, script(`
    say(http.get(\`\${__ENV.URL}/home\`).body);
    const home = http.post(\`\${__ENV.URL}/login\`, 'x');
    say(home.body, home.url.endsWith('/home'));
    say(http.get(\`\${__ENV.URL}/login\`, { redirects: 0, responseCallback: http.expectedStatuses(200) }).status);
    say(http.cookieJar().cookiesForURL(__ENV.URL));
    say(http.get(\`\${__ENV.URL}/loop\`, { redirects: 3 }).status);
  `, "export const options = { scenarios: { a: { executor: 'per-vu-iterations', iterations: 2 } } };"), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  const once = ['GET /home no cookie', 'GET /home session=abc true', '302', '{"session":["abc"]}', '302'];
  assert.deepEqual(lines(result), [...once, ...once], 'the second iteration begins without cookies');
  assert.equal(result.summary.metrics.http_req_failed.values.passes, 2);
});

test('requests without an answer', async (t) => {
  const silent = await httpServer(t, () => {});
  const result = await run(t, script(`
    const refused = http.get('http://127.0.0.1:1/');
    say(refused.status, refused.error_code, refused.body);
    const late = http.get(__ENV.URL, { timeout: '200ms' });
    say(late.status, late.error_code, late.error);
    const alsoLate = await http.asyncRequest('GET', __ENV.URL, null, { timeout: 200 });
    say(alsoLate.status, alsoLate.error_code);
  `), { env: { URL: silent } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), ['0 1212 null', '0 1050 request timeout', '0 1050']);
  assert.equal(result.summary.metrics.http_req_failed.values.rate, 1);
});

test('a VU that waits for a response does not hold up another', async (t) => {
  const waiting = [];
  const url = await httpServer(t, (request, response) => {
    if (request.url === '/wait') waiting.push(response);
    else {
      waiting.forEach((each) => each.end('released'));
      response.end('ok');
    }
  });
  const result = await run(t, script(`
    if (__VU === 1) say(http.get(\`\${__ENV.URL}/wait\`, { timeout: '20s' }).body);
    else {
      await new Promise<void>((resolve) => setTimeout(resolve, 300));
      http.get(\`\${__ENV.URL}/release\`);
    }
  `, "export const options = { scenarios: { a: { executor: 'per-vu-iterations', vus: 2 } } };"), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), ['released']);
});

test('WebSockets: events, binary types, what may be sent', async (t) => {
  const url = await webSocketServer(t, (socket, request) => {
    socket.on('message', (data, isBinary) => socket.send(isBinary ? data : `${data} ${request.headers['x-own'] ?? ''}`, { binary: isBinary }));
  });
  const result = await run(t, script(`
    const socket = new WebSocket(__ENV.URL, null, { headers: { 'x-own': 'header' }, tags: { kind: 'k' } });
    say(socket.readyState === WebSocket.CONNECTING, socket.binaryType, socket.url === __ENV.URL);
    try { socket.send('early'); } catch (error) { say((error as Error).message); }
    const got: unknown[] = [];
    const next = () => new Promise<any>((resolve) => { socket.onmessage = (event) => resolve(event!.data); });
    await new Promise<void>((resolve) => { socket.onopen = () => resolve(); });
    say(socket.readyState);
    socket.send('text');
    say(await next());
    socket.send(new Uint8Array([1, 2, 3]));
    const blob = await next();
    say(blob instanceof Blob, blob.size, new Uint8Array(await blob.arrayBuffer()).join());
    socket.binaryType = 'arraybuffer';
    socket.send(new Blob(['a', new Uint8Array([98]).buffer]));
    const buffer = await next();
    say(buffer instanceof ArrayBuffer, new Uint8Array(buffer).join());
    socket.addEventListener('close', (event: any) => say('listener', event.type, event.code));
    socket.onclose = (event?: any) => say('handler', event.code, socket.readyState);
    socket.close();
    say(socket.readyState);
  `, "export const options = { thresholds: { 'ws_msgs_received{kind:k}': ['count==3'], ws_sessions: ['count==1'], ws_session_duration: ['max>0'] } };"), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), [
    'true blob true',
    'InvalidStateError: the WebSocket is not open',
    '1',
    'text header',
    'true 3 1,2,3',
    'true 97,98',
    '2',
    'handler 1000 3',
    'listener close 1000',
  ]);
});

test('WebSockets: pings, and how they close', async (t) => {
  const url = await webSocketServer(t, (socket, request) => {
    if (request.url === '/restart') socket.close(1012, 'restarting');
    if (request.url === '/cut') socket.terminate();
    if (request.url === '/ping') socket.ping();
    if (request.url === '/code') socket.on('close', (code, reason) => received.push(`${code} ${reason}`));
  });
  const received = [];
  const result = await run(t, script(`
    const follow = (path: string, act: (socket: WebSocket) => void) => new Promise<void>((resolve) => {
      const socket = new WebSocket(__ENV.URL + path);
      const events: string[] = [];
      socket.addEventListener('error', (event: any) => { events.push('error: ' + event.error); });
      socket.onping = () => { events.push('ping'); socket.close(); };
      socket.onpong = () => { events.push('pong'); socket.close(4321, 'reason'); };
      socket.onopen = () => act(socket);
      socket.onclose = (event?: any) => { say(path, events.join(', '), 'close', event.code, event.reason); resolve(); };
    });
    await follow('/restart', () => {});
    await follow('/cut', () => {});
    await follow('/ping', () => {});
    await follow('/code', (socket) => socket.ping());
  `), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), [
    '/restart error: websocket: close 1012 (service restart): restarting close 1012 restarting',
    '/cut error: websocket: close 1006 (abnormal closure) close 1006 ',
    '/ping ping close 1000 ',
    '/code pong, error: websocket: close 4321: reason close 4321 reason',
  ]);
  assert.deepEqual(received, ['4321 reason']);
  assert.equal(result.summary.metrics.ws_ping.type, 'trend');
});

test('WebSockets: nobody listens, or it is no WebSocket', async (t) => {
  const url = await httpServer(t, (request, response) => response.writeHead(400).end('no'));
  const result = await run(t, script(`
    for (const address of ['ws://127.0.0.1:1/', __ENV.URL.replace('http', 'ws')]) {
      const socket = new WebSocket(address);
      await new Promise<void>((resolve) => {
        socket.onerror = (event) => say('error', /ECONNREFUSED|400/.test(event!.error));
        socket.onclose = () => resolve();
      });
    }
    try { new WebSocket('http://127.0.0.1'); } catch (error) { say((error as Error).message); }
  `), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), ['error true', 'error true', 'the URL of a WebSocket begins with ws: or wss:, not http:']);
  assert.equal(result.summary.metrics.ws_sessions, undefined);
});

test('WebSockets: an open one keeps its iteration, an interruption closes it', async (t) => {
  const closed = [];
  const url = await webSocketServer(t, (socket) => {
    socket.send('one');
    socket.on('close', (code) => closed.push(code));
  });
  const result = await run(t, script(`
    const socket = new WebSocket(__ENV.URL);
    socket.onmessage = () => say('message');
    socket.onclose = () => say('not called');
  `, "export const options = { scenarios: { a: { executor: 'constant-vus', vus: 2, duration: '700ms', gracefulStop: '100ms' } } };"), { env: { URL: url } });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(lines(result), ['message', 'message']);
  assert.equal(result.summary.metrics.iterations, undefined);
  assert.deepEqual(closed, [1001, 1001]);
});
