// One HTTP request over Node's client, as plain data that can pass between threads: the transport of k6/http, without
// redirects, cookies or metrics, which modules/http.mjs adds. Connections are kept for each VU, as in k6.
import http from 'node:http';
import https from 'node:https';

const NETWORK_ERRORS = { ENOTFOUND: 1101, EAI_AGAIN: 1101, ECONNREFUSED: 1212, ECONNRESET: 1220, EPIPE: 1220, ETIMEDOUT: 1211 };
const TIMEOUT = 1050;
const OTHER = 1000;
const TLS_VERSIONS = { 'TLSv1': 'tls1.0', 'TLSv1.1': 'tls1.1', 'TLSv1.2': 'tls1.2', 'TLSv1.3': 'tls1.3' };

export class HttpClient {
  #agents = new Map();

  /**
   * `{vu, method, url, headers, body, timeout, reuse, insecure}` to `{status, statusText, headers, setCookie, body, …}`;
   * where there is no answer, `status` is 0, and `error` and `errorCode` say why. Never rejects.
   */
  request(request) {
    return new Promise((resolve) => {
      const started = performance.now();
      const at = {};
      const url = new URL(request.url);
      const options = { method: request.method, headers: request.headers, agent: this.#agent(request, url.protocol) };
      const sent = (url.protocol === 'https:' ? https : http).request(url, options);
      const finish = (facts) => {
        clearTimeout(deadline);
        resolve({ ...endpoint(sent), ...facts, timings: timings(started, at) });
      };
      const fail = (error, errorCode) => finish({ status: 0, error, errorCode });
      const deadline = setTimeout(() => {
        sent.destroy();
        fail('request timeout', TIMEOUT);
      }, request.timeout);
      sent.on('socket', (socket) => {
        at.socket = performance.now();
        if (!socket.connecting) return;
        socket.once('connect', () => (at.connected = performance.now()));
        socket.once('secureConnect', () => (at.secured = performance.now()));
      });
      sent.on('finish', () => (at.sent = performance.now()));
      sent.on('error', (error) => fail(error.message || String(error.code), NETWORK_ERRORS[error.code] ?? OTHER));
      sent.on('response', (response) => {
        at.answered = performance.now();
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', (error) => fail(error.message, NETWORK_ERRORS[error.code] ?? OTHER));
        response.on('end', () => finish({
          status: response.statusCode,
          statusText: `${response.statusCode} ${response.statusMessage}`,
          proto: `HTTP/${response.httpVersion}`,
          headers: canonical(response.rawHeaders),
          setCookie: response.headers['set-cookie'] ?? [],
          body: new Uint8Array(Buffer.concat(chunks)),
        }));
      });
      sent.end(request.body);
    });
  }

  #agent({ vu, reuse, insecure }, protocol) {
    const key = `${vu} ${protocol}`;
    let agent = this.#agents.get(key);
    if (!agent) {
      const options = { keepAlive: reuse, rejectUnauthorized: !insecure };
      agent = protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
      this.#agents.set(key, agent);
    }
    return agent;
  }
}

function endpoint({ socket }) {
  return {
    remoteIp: socket?.remoteAddress ?? '',
    remotePort: socket?.remotePort ?? 0,
    tlsVersion: TLS_VERSIONS[socket?.getProtocol?.()] ?? '',
    tlsCipherSuite: socket?.getCipher?.()?.standardName ?? '',
  };
}

/** k6's phases, in milliseconds. */
function timings(started, at) {
  const ended = performance.now();
  const socket = at.socket ?? ended;
  const connected = at.connected ?? socket;
  const secured = at.secured ?? connected;
  const sent = at.sent ?? secured;
  const answered = Math.max(at.answered ?? ended, sent);
  return {
    blocked: socket - started,
    connecting: connected - socket,
    tls_handshaking: secured - connected,
    sending: Math.max(0, sent - secured),
    waiting: answered - sent,
    receiving: ended - answered,
    duration: ended - secured,
  };
}

/** Header names as Go writes them, values of a repeated one joined. */
function canonical(raw) {
  const headers = {};
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
    headers[name] = name in headers ? `${headers[name]}, ${raw[i + 1]}` : raw[i + 1];
  }
  return headers;
}
