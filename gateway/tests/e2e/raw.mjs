// The wire protocol without a Socket.IO client: arbitrary HTTP requests and WebSocket frames.
import http from 'node:http';
import WebSocket from 'ws';

import { scope } from './scope.mjs';
import { eventually, hopeless } from './wait.mjs';

/** One HTTP request on a connection of its own: {status, headers, body}. */
export function request(url, { method = 'GET', headers = {}, body, timeout = 15_000 } = {}) {
  return new Promise((resolve, reject) => {
    const sent = http.request(url, { method, headers, agent: false, timeout }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode,
          headers: response.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      );
    });
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${url}: no answer within ${timeout} ms`)));
    sent.on('error', reject);
    sent.end(body);
  });
}

export const pollingUrl = (target, extra = '') => `${target.url}/socket.io/?EIO=4&transport=polling${extra}`;
export const upgradeUrl = (target, extra = '') =>
  `${target.url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket${extra}`;

/** The session id in an open packet. */
export const sidOf = (open) => JSON.parse(open.slice(1)).sid;

/** A WebSocket that answers the pings of Engine.IO 4, unless `pongs` is false; everything else is up to the test. */
export class RawSocket {
  frames = [];

  constructor(url, { pongs = true, ...options } = {}) {
    this.ws = new WebSocket(url, options);
    this.closed = false;
    this.ws.on('message', (data, binary) => {
      const frame = binary ? data : data.toString('utf8');
      this.frames.push(frame);
      if (frame === '2' && pongs) this.ws.send('3');
      this.onFrame?.(frame);
    });
    this.ws.on('close', (code) => {
      this.closed = true;
      this.closeCode = code;
    });
    // The status, if the upgrade was refused.
    this.ws.on('unexpected-response', (sent, response) => {
      this.refused = response.statusCode;
      this.closed = true;
      sent.destroy();
    });
    this.ws.on('error', (error) => (this.error = error));
    scope().defer(() => this.ws.terminate());
  }

  /** Waits for a text frame that matches. */
  frame(pattern, timeout = 10_000) {
    return eventually(
      () => {
        const found = this.frames.find((frame) => typeof frame === 'string' && pattern.test(frame));
        if (!found && this.closed) hopeless(`closed (${this.closeCode ?? this.refused ?? this.error})`);
        return found;
      },
      { timeout, what: () => `a frame like ${pattern}; seen: ${JSON.stringify(this.frames).slice(0, 500)}` },
    );
  }

  /** Waits until the other side has closed. */
  ended(timeout = 10_000) {
    return eventually(() => this.closed, { timeout, what: 'the connection is closed' });
  }

  send(...frames) {
    for (const frame of frames) this.ws.send(frame);
  }

  /** All frames in one write to the kernel. */
  sendAtOnce(...frames) {
    const { _socket: tcp } = this.ws;
    tcp.cork();
    this.send(...frames);
    tcp.uncork();
  }
}

/** An open WebSocket that has received the open packet. */
export async function rawSocket(target, options) {
  const socket = new RawSocket(upgradeUrl(target), options);
  await socket.frame(/^0\{/);
  return socket;
}

/** The same, connected to a namespace with a name. */
export async function rawUser(target, username, namespace = '/native') {
  const socket = await rawSocket(target);
  socket.send(`40${namespace},${JSON.stringify({ username })}`);
  await socket.frame(new RegExp(`^40${namespace},`));
  return socket;
}
