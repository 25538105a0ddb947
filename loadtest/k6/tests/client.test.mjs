// The client against the official server, on the host. The cases stand in client.ts.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { runScript } from './run-host.mjs';

const require = createRequire(new URL('../../../gateway/tests/e2e/package.json', import.meta.url));
const { Server } = require('socket.io');
const { WebSocketServer } = require('ws');

const port = async (server) => {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${server.address().port}`;
};

async function official() {
  const server = createServer();
  const io = new Server(server, { pingInterval: 300, pingTimeout: 400 });
  const reasons = new Map();
  for (const name of ['/', '/room']) {
    io.of(name).on('connection', (socket) => {
      socket.on('echo', (...args) => args.pop()(args));
      socket.on('number', (number) => socket.emit('numbered', number));
      socket.on('who', (answer) => answer({ auth: socket.handshake.auth, query: socket.handshake.query.some }));
      socket.on('send bytes', (bytes) => socket.emit('bytes', bytes, 'after'));
      socket.on('silence', () => {});
      socket.on('ask me', (number, answer) => socket.emit('question', number, (sum, bytes) => answer([sum, bytes.length])));
      socket.on('disconnect me', () => socket.disconnect());
      socket.on('cut me', () => socket.conn.close());
      socket.on('why', (id, answer) => answer(reasons.get(id) ?? null));
      socket.on('disconnect', (reason) => reasons.set(socket.id, reason));
    });
  }
  io.of('/forbidden').use((_, next) => next(Object.assign(new Error('forbidden'), { data: { code: 7 } })));
  return { url: await port(server), close: () => io.close() };
}

/** Answers the connect packet and never says anything again. */
async function silent() {
  const server = createServer();
  new WebSocketServer({ server }).on('connection', (socket) => {
    socket.send('0{"sid":"s","upgrades":[],"pingInterval":100,"pingTimeout":100,"maxPayload":1000}');
    socket.once('message', () => socket.send('40{"sid":"t"}'));
  });
  return { url: await port(server), close: () => (server.closeAllConnections(), server.close()) };
}

/** Accepts connections and never answers. */
async function mute() {
  const open = new Set();
  const server = createTcpServer((socket) => open.add(socket.on('error', () => {})));
  return { url: await port(server), close: () => (open.forEach((socket) => socket.destroy()), server.close()) };
}

test('the client does what the official one does, against the official server', { timeout: 90_000 }, async () => {
  const servers = [await official(), await silent(), await mute()];
  try {
    const [BASE_URL, SILENT_URL, MUTE_URL] = servers.map(({ url }) => url);
    const { code, output } = await runScript('tests/client.ts', { BASE_URL, SILENT_URL, MUTE_URL });
    assert.equal(code, 0, output);
    assert.equal([...output.matchAll(/ok: /g)].length, 26, output);
    assert.doesNotMatch(output, /not ok: /);
  } finally {
    for (const { close } of servers) close();
  }
});
