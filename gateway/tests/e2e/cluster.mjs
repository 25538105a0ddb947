// Gateways, presence services and their Redis as real processes, with a forwarder or a real load balancer in front of
// them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

import { Child } from './processes.mjs';
import { randomPort, redisServer } from './redis.mjs';
import { scope } from './scope.mjs';
import { eventually } from './wait.mjs';
import { request } from './raw.mjs';

const BIN_DIR =
  process.env.ROOMCAST_BIN_DIR ?? fileURLToPath(new URL('../../../target/debug', import.meta.url));

/** A gateway or a presence service: keeps its address across restarts of its process. */
class Service {
  constructor(binary, label, args) {
    Object.assign(this, { binary, label, args });
  }

  async start(listen = '127.0.0.1:0', admin = '127.0.0.1:0') {
    const path = join(BIN_DIR, this.binary);
    assert.ok(existsSync(path), `${path} is missing: cargo build --bins`);
    const [command, ...args] = [...(this.files ? ['prlimit', `--nofile=${this.files}`] : []), path];
    this.process = new Child(this.label, command, [...args, '--listen', listen, '--admin', admin, ...this.args]);
    this.url = (await this.process.line(/^listening on (http:\/\/[\d.]+:\d+)$/))[1];
    this.adminUrl = (await this.process.line(/^admin on (http:\/\/[\d.]+:\d+)$/))[1];
    this.port = Number(new URL(this.url).port);
    if (this.args.includes('--peer-listen')) this.peerPort = Number((await this.process.line(/^peer on [\d.]+:(\d+)$/))[1]);
    await eventually(async () => (await request(`${this.adminUrl}/readyz`)).status === 200, {
      what: `${this.label} is ready`,
      timeout: 20_000,
    });
    return this;
  }

  get pid() {
    return this.process.pid;
  }

  get running() {
    return this.process.running;
  }

  /** Kills the process, like a crash. */
  kill9() {
    return this.process.kill9();
  }

  /** Stops it as in a rolling restart; fails if it does not exit with code 0. */
  stop() {
    return this.process.stop();
  }

  /** A new process on the same addresses. */
  async restart() {
    if (this.running) await this.kill9();
    return this.start(new URL(this.url).host, new URL(this.adminUrl).host);
  }
}

/**
 * @param {object} options
 * @param {number} options.gateways how many
 * @param {number} options.presence how many; they need Redis
 * @param {boolean} options.redis false: one gateway alone, everything in its memory
 * @param {string[]} options.secrets the peer secret of each gateway; one shared secret if unset
 * @param {string[]} options.args more flags for every gateway
 * @param {number} options.files how many files each gateway may open
 * @param {string[]} options.presenceArgs more flags for every presence service
 */
export async function cluster({ gateways = 3, presence = 2, redis = true, secrets, files, args = [], presenceArgs = [] } = {}) {
  const server = redis ? await redisServer() : undefined;
  const shared = server ? ['--redis', server.url] : [];
  const sharedSecret = randomBytes(24).toString('hex');
  const peer = (i) => (server ? ['--peer-listen', '127.0.0.1:0', '--peer-secret', secrets?.[i] ?? sharedSecret] : []);
  const names = Array.from({ length: gateways }, (_, i) => `gw-${String.fromCharCode(97 + i)}`);
  const made = {
    redis: server,
    gateways: names.map((name, i) => new Service('roomcast-gateway', name, [...shared, ...peer(i), '--node', name, ...args])),
    presence: Array.from(
      { length: redis ? presence : 0 },
      (_, i) => new Service('roomcast-presence', `presence-${i + 1}`, [...shared, ...presenceArgs]),
    ),
  };
  made.gateways.forEach((gateway) => (gateway.files = files));
  await Promise.all([...made.gateways, ...made.presence].map((service) => service.start()));
  return made;
}

/**
 * One address in front of several: each connection goes to the first backend that accepts it. For official clients,
 * which reconnect to the same address.
 */
export async function proxy(backends) {
  const open = new Set();
  const server = createServer((client) => {
    open.add(client);
    client.on('error', () => {});
    client.on('close', () => open.delete(client));
    const attempt = ([backend, ...others]) => {
      if (!backend) return client.destroy();
      const upstream = createConnection(backend.port ?? backend, '127.0.0.1');
      upstream.once('connect', () => {
        open.add(upstream);
        client.pipe(upstream).pipe(client);
        upstream.on('close', () => (open.delete(upstream), client.destroy()));
        client.on('close', () => upstream.destroy());
        upstream.removeAllListeners('error').on('error', () => client.destroy());
        if (client.destroyed) upstream.destroy();
      });
      upstream.once('error', () => attempt(others));
    };
    attempt(backends);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const close = () => {
    server.close();
    open.forEach((socket) => socket.destroy());
  };
  scope().defer(close);
  return { port, url: `http://127.0.0.1:${port}`, close };
}

/** haproxy with the configuration of `make cluster`, without sticky sessions, in front of three gateways. */
export async function balancer(gateways) {
  const config = fileURLToPath(new URL('../../../deploy/haproxy/haproxy.cfg', import.meta.url));
  const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  gateways.forEach((gateway, i) => {
    env[`GATEWAY_${i + 1}`] = `127.0.0.1:${gateway.port}`;
    env[`ADMIN_PORT_${i + 1}`] = new URL(gateway.adminUrl).port;
  });
  for (let attempt = 1; ; attempt++) {
    const port = randomPort();
    const child = new Child('haproxy', 'haproxy', ['-db', '-f', config], { env: { ...env, LISTEN: `127.0.0.1:${port}` } });
    const url = `http://127.0.0.1:${port}`;
    const answers = async () => !child.running || (await request(url)).status === 200;
    await eventually(answers, { what: 'haproxy passes requests on', timeout: 20_000 });
    if (child.running) return { port, url };
    child.diedAlone = false;
    const taken = child.lines.some(({ text }) => /in use/i.test(text));
    if (!taken || attempt === 10) throw new Error(`haproxy: ${child.ending}`);
  }
}
