// A redis-server process for one test, and enough of its protocol to send it commands.
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Child } from './processes.mjs';
import { scope } from './scope.mjs';

/** Below the range of ports that the kernel uses for outgoing connections. */
export const randomPort = () => 20_000 + Math.floor(Math.random() * 10_000);

export async function redisServer() {
  const dir = await mkdtemp(join(tmpdir(), 'roomcast-redis-'));
  scope().defer(() => rm(dir, { recursive: true, force: true }));
  for (let attempt = 1; ; attempt++) {
    const port = randomPort();
    const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir];
    const server = new Child('redis', 'redis-server', args.map(String));
    try {
      await server.line(/Ready to accept connections/);
      return Object.assign(server, {
        port,
        url: `redis://127.0.0.1:${port}`,
        command: (...words) => command(port, words),
      });
    } catch (error) {
      const taken = server.lines.some((line) => /in use|Failed listening/i.test(line.text));
      await server.mayEnd().kill9();
      server.diedAlone = false;
      if (!taken || attempt === 10) throw error;
    }
  }
}

/** One command on a connection of its own. An error reply is thrown. */
function command(port, words) {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1');
    let bytes = Buffer.alloc(0);
    const finish = (callback, value) => {
      socket.destroy();
      callback(value);
    };
    socket.setTimeout(10_000, () => finish(reject, new Error(`redis did not answer ${words[0]}`)));
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      const reply = parse(bytes, 0);
      if (reply?.error) finish(reject, new Error(reply.error));
      else if (reply) finish(resolve, reply.value);
    });
    const bulk = (word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`;
    socket.write(`*${words.length}\r\n${words.map(String).map(bulk).join('')}`);
  });
}

/** A complete RESP2 reply from `at`, as {value, end} or {error, end}; undefined while bytes are missing. */
function parse(bytes, at) {
  const eol = bytes.indexOf('\r\n', at);
  if (eol < 0) return undefined;
  const [type, rest, next] = [String.fromCharCode(bytes[at]), bytes.toString('utf8', at + 1, eol), eol + 2];
  if (type === '+') return { value: rest, end: next };
  if (type === '-') return { error: rest, end: next };
  if (type === ':') return { value: Number(rest), end: next };
  const length = Number(rest);
  if (length < 0) return { value: null, end: next };
  if (type === '$') {
    const end = next + length;
    return bytes.length < end + 2 ? undefined : { value: bytes.toString('utf8', next, end), end: end + 2 };
  }
  const list = [];
  let end = next;
  for (let i = 0; i < length; i++) {
    const item = parse(bytes, end);
    if (!item) return undefined;
    list.push(item.value);
    end = item.end;
  }
  return { value: list, end };
}
