// One peer, two processes of it and a redis-server: twenty messages, sent in turns, must reach the member of
// the room on either process exactly once. Usage: node smoke.mjs NAME (after NAME/install).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const require = createRequire(here('../../gateway/tests/e2e/package.json')); // its packages, not its code
const { io } = require('socket.io-client');
const WebSocket = require('ws');

const MESSAGES = 20;
const ROOM = 'smoke';
const name = process.argv[2];
const children = [];

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a program and waits for the line of its stdout that says that it is ready. */
async function start(command, args, ready) {
  const child = spawn(command, args.map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`${command} ended (${signal ?? code}) before it was ready`)));
    setTimeout(() => reject(new Error(`${command} is not ready after 20 s`)), 20_000).unref();
    createInterface({ input: child.stdout }).on('line', (line) => ready(line) && resolve());
  });
}

/** A member of the room on one process of a Socket.IO server. */
async function socketioMember(port) {
  const handshake = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`);
  const [open] = await once(handshake, 'message');
  const { pingInterval, pingTimeout, upgrades } = JSON.parse(open.toString().slice(1));
  assert.deepEqual({ pingInterval, pingTimeout, upgrades }, { pingInterval: 25_000, pingTimeout: 20_000, upgrades: [] });
  handshake.terminate();
  const polling = await fetch(`http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`);
  assert.equal(polling.status, 400, 'long-polling is refused');

  const received = [];
  const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false, forceNew: true });
  socket.on('message', (message) => {
    assert.deepEqual(Object.keys(message).sort(), ['room', 'text', 'ts', 'user']);
    assert.equal(message.room, ROOM);
    assert.equal(typeof message.user, 'string');
    assert.ok(Math.abs(Date.now() - message.ts) < 60_000, `ts is in milliseconds: ${message.ts}`);
    received.push(message.text);
  });
  await once(socket, 'connect');
  const ask = async (event, data) =>
    assert.deepEqual(await socket.timeout(5_000).emitWithAck(event, data), { status: 'ok' });
  await ask('join', { room: ROOM });
  return { received, send: (text) => ask('send_message', { room: ROOM, text }), close: () => socket.close() };
}

/** A member of the channel on one process of the centrifuge engine: one JSON value a line, `{}` is a ping. */
async function centrifugeMember(port) {
  const received = [];
  const answers = new Map();
  const socket = new WebSocket(`ws://127.0.0.1:${port}/connection/websocket`);
  await once(socket, 'open');
  socket.on('message', (frame) => {
    for (const line of frame.toString().split('\n').filter(Boolean)) {
      const reply = JSON.parse(line);
      if (reply.push?.pub) received.push(reply.push.pub.data.text);
      else if (reply.id) answers.get(reply.id)(reply);
      else if (!reply.push) socket.send('{}');
    }
  });
  let id = 0;
  const ask = async (command) => {
    const answered = new Promise((resolve) => answers.set(++id, resolve));
    socket.send(JSON.stringify({ id, ...command }));
    const reply = await answered;
    assert.equal(reply.error, undefined, JSON.stringify(reply));
    return reply;
  };
  await ask({ connect: {} });
  await ask({ subscribe: { channel: ROOM } });
  const send = (text) => ask({ publish: { channel: ROOM, data: { room: ROOM, text, user: 'smoke', ts: Date.now() } } });
  return { received, send, close: () => socket.terminate() };
}

async function smoke() {
  const redis = await freePort();
  const none = ['--save', '', '--appendonly', 'no'];
  await start('redis-server', ['--port', redis, '--bind', '127.0.0.1', ...none], (line) => /Ready to accept/.test(line));
  const ports = [await freePort(), await freePort()];
  for (const port of ports) {
    const args = ['--port', port, '--redis', `redis://127.0.0.1:${redis}`];
    await start(here(`${name}/run`), args, (line) => line === `listening on 127.0.0.1:${port}`);
  }
  const member = name === 'centrifuge' ? centrifugeMember : socketioMember;
  const members = [];
  for (const port of ports) members.push(await member(port));
  await sleep(500); // the sharded adapter acknowledges a join before Redis has confirmed its subscription

  const sent = Array.from({ length: MESSAGES }, (_, i) => `message ${i}`);
  for (const [i, text] of sent.entries()) await members[i % 2].send(text);
  const deadline = Date.now() + 5_000;
  while (members.some(({ received }) => received.length < MESSAGES) && Date.now() < deadline) await sleep(20);
  await sleep(300); // a repeated message would come late
  for (const { received } of members) assert.deepEqual(received.sort(), [...sent].sort());
  members.forEach(({ close }) => close());
  console.log(`${name}: ${MESSAGES} messages reached 2 members on 2 processes exactly once`);
}

try {
  await smoke();
} catch (error) {
  console.error(`${name}: FAILED`, error);
  process.exitCode = 1;
} finally {
  for (const child of children.reverse()) {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) {
      const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
      await once(child, 'exit');
      clearTimeout(late);
    }
  }
}
