// `k6/websockets`: sockets with WHATWG events over the package `ws`, with k6's metrics, its close behaviour and its
// binary types. Made by vu.mjs. An open socket keeps its iteration alive.
import { createRequire } from 'node:module';
import { types } from 'node:util';

const { WebSocket: Client } = createRequire(import.meta.url)('ws');

const STATES = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 };
const EVENTS = ['open', 'close', 'error', 'message', 'ping', 'pong'];
const PARAMS = ['headers', 'compression', 'tags', 'jar'];
const NORMAL = 1_000;
const GOING_AWAY = 1_001;
const REASONS = { 1002: ' (protocol error)', 1006: ' (abnormal closure)', 1011: ' (internal server error)', 1012: ' (service restart)', 1013: ' (try again later)' };

export function websocketsModule(vu) {
  class Blob {
    #bytes;
    constructor(parts = [], options = {}) {
      this.#bytes = Buffer.concat(parts.map((part) => (part instanceof Blob ? part.#bytes : Buffer.from(octets(part)))));
      this.type = options.type ?? '';
    }
    get size() {
      return this.#bytes.length;
    }
    arrayBuffer() {
      return vu.realm.Promise.resolve(vu.bytes(this.#bytes));
    }
    bytes() {
      return vu.realm.Promise.resolve(new vu.realm.Uint8Array(vu.bytes(this.#bytes)));
    }
    text() {
      return vu.realm.Promise.resolve(this.#bytes.toString());
    }
    slice(start, end) {
      return new Blob([this.#bytes.subarray(start, end)], { type: this.type });
    }
    stream() {
      throw vu.error('Blob.stream is part of k6, but not of the host that runs this script');
    }
    static octets(blob) {
      return blob.#bytes;
    }
  }

  /** The bytes of what a script may send, or its text. */
  function octets(data) {
    if (typeof data === 'string') return data;
    if (types.isAnyArrayBuffer(data)) return Buffer.from(data);
    if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (data instanceof Blob) return Blob.octets(data);
    throw new vu.realm.TypeError('text, an ArrayBuffer, a view of one or a Blob is expected');
  }

  class WebSocket {
    #client;
    #url;
    #state = STATES.CONNECTING;
    #binaryType = 'blob';
    #handlers = {};
    #listeners = Object.fromEntries(EVENTS.map((name) => [name, []]));
    #tags;
    #started = performance.now();
    #error;
    #pings = new Map();
    #lastPing = 0;
    #over;

    constructor(url, protocols, params) {
      if (!vu.call) throw vu.error('using WebSocket in the init stage is not supported');
      const { protocol } = new URL(url);
      if (!['ws:', 'wss:'].includes(protocol)) throw new vu.realm.TypeError(`the URL of a WebSocket begins with ws: or wss:, not ${protocol}`);
      const given = params ?? {};
      for (const name of Object.keys(given)) {
        if (!PARAMS.includes(name)) throw vu.error(`the parameter "${name}" of WebSocket is not part of the host that runs this script`);
      }
      this.#url = url;
      this.#tags = { url, ...given.tags };
      const cookies = (given.jar ? Object.entries(given.jar.cookiesForURL(url)).map(([name, [value]]) => [name, value]) : vu.cookies.of(url));
      const headers = { 'User-Agent': vu.options.userAgent ?? 'k6-host/1.0', ...given.headers };
      if (cookies.length > 0) headers.Cookie ??= cookies.map(([name, value]) => `${name}=${value}`).join('; ');
      this.#client = new Client(url, {
        headers,
        perMessageDeflate: given.compression === 'deflate',
        rejectUnauthorized: vu.options.insecureSkipTLSVerify !== true,
      });
      this.#over = vu.loop.hold(() => this.#abandon());
      this.#listen();
    }

    get url() {
      return this.#url;
    }
    get readyState() {
      return this.#state;
    }
    get bufferedAmount() {
      return this.#client.bufferedAmount;
    }
    get binaryType() {
      return this.#binaryType;
    }
    set binaryType(type) {
      if (!['blob', 'arraybuffer'].includes(type)) throw new vu.realm.TypeError(`"${type}" is no binaryType: blob, arraybuffer`);
      this.#binaryType = type;
    }

    send(data) {
      this.#assertOpen();
      const content = octets(data);
      vu.emit('ws_msgs_sent', 1, this.#tags);
      vu.emit('data_sent', Buffer.byteLength(content));
      this.#client.send(content, { binary: typeof content !== 'string' });
    }

    ping() {
      this.#assertOpen();
      const id = String((this.#lastPing += 1));
      this.#pings.set(id, performance.now());
      this.#client.ping(id);
    }

    close(code = NORMAL, reason = '') {
      if (this.#state >= STATES.CLOSING) return;
      this.#state = STATES.CLOSING;
      this.#client.close(code, reason);
    }

    addEventListener(name, listener) {
      if (!EVENTS.includes(name)) throw vu.error(`a WebSocket has no event "${name}"`);
      if (typeof listener !== 'function') throw new vu.realm.TypeError('a listener has to be a function');
      this.#listeners[name].push(listener);
    }

    #assertOpen() {
      if (this.#state !== STATES.OPEN) throw vu.error('InvalidStateError: the WebSocket is not open');
    }

    #listen() {
      const client = this.#client;
      client.on('upgrade', ({ statusCode, headers }) => {
        this.#tags.status = String(statusCode);
        vu.cookies.take(this.#url, headers['set-cookie'] ?? []);
      });
      client.on('open', () => {
        this.#opened();
      });
      client.on('message', (data, isBinary) => {
        vu.emit('ws_msgs_received', 1, this.#tags);
        vu.emit('data_received', data.length);
        this.#dispatch('message', { data: isBinary ? this.#binary(data) : data.toString() });
      });
      client.on('ping', () => this.#dispatch('ping'));
      client.on('pong', (data) => {
        const sent = this.#pings.get(data.toString());
        this.#pings.delete(data.toString());
        if (sent !== undefined) vu.emit('ws_ping', performance.now() - sent, this.#tags);
        this.#dispatch('pong');
      });
      client.on('error', (error) => (this.#error = error.message || String(error.code)));
      client.on('close', (code, reason) => this.#closed(code, reason.toString()));
    }

    #opened() {
      this.#state = STATES.OPEN;
      vu.emit('ws_sessions', 1, this.#tags);
      vu.emit('ws_connecting', performance.now() - this.#started, this.#tags);
      this.#dispatch('open');
    }

    /** As in k6, a close with another code than 1000 or 1001 is an error first. */
    #closed(code, reason) {
      if (this.#state === STATES.CLOSED) return;
      this.#measureSession();
      this.#state = STATES.CLOSED;
      const usual = code === NORMAL || code === GOING_AWAY;
      const error = this.#error ?? (usual ? undefined : `websocket: close ${code}${REASONS[code] ?? ''}${reason && `: ${reason}`}`);
      if (error !== undefined) this.#dispatch('error', { error });
      this.#dispatch('close', { code, reason, wasClean: usual });
      this.#over();
    }

    /** The iteration ended with the socket open: nothing of the script is called any more. */
    #abandon() {
      if (this.#state === STATES.OPEN || this.#state === STATES.CLOSING) {
        this.#measureSession();
        this.#client.removeAllListeners('message');
        this.#client.close(GOING_AWAY);
        setTimeout(() => this.#client.terminate(), 1_000).unref();
      } else {
        this.#client.terminate();
      }
      this.#state = STATES.CLOSED;
      this.#listeners = undefined;
    }

    #measureSession() {
      if (this.#tags.status !== undefined) vu.emit('ws_session_duration', performance.now() - this.#started, this.#tags);
    }

    #binary(data) {
      return this.#binaryType === 'blob' ? new Blob([data]) : vu.bytes(data);
    }

    #dispatch(type, members = {}) {
      if (!this.#listeners) return;
      const event = { type, target: this, timestamp: Date.now(), ...members };
      for (const listener of [this.#handlers[type], ...this.#listeners[type]]) {
        if (listener && this.#listeners) vu.loop.call(() => listener.call(this, event));
      }
    }

    static {
      for (const name of EVENTS) {
        Object.defineProperty(this.prototype, `on${name}`, {
          get() {
            return this.#handlers[name] ?? null;
          },
          set(handler) {
            this.#handlers[name] = typeof handler === 'function' ? handler : undefined;
          },
        });
      }
      for (const [name, value] of Object.entries(STATES)) {
        Object.defineProperty(this, name, { value });
        Object.defineProperty(this.prototype, name, { value });
      }
    }
  }

  return { Blob, WebSocket };
}
