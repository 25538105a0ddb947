// `k6/http`: requests, synchronous as in k6 or by promise, with redirects, cookies, metrics and k6's responses. Made by
// vu.mjs; http-client.mjs does the transport.
import { types } from 'node:util';
import { Cookies } from '../cookies.mjs';
import { milliseconds } from '../durations.mjs';
import { HttpClient } from '../http-client.mjs';
import { MISSING_MEMBERS, MODULES, missing } from '../surface.mjs';

const PARAMS = ['cookies', 'headers', 'jar', 'redirects', 'responseType', 'tags', 'timeout', 'responseCallback'];
const HTTP_ERROR = 1_000;
const expected = (accepts) => ({ accepts });
const DEFAULT_CALLBACK = expected((status) => status >= 200 && status < 400);

/** Connections of requests by promise; those of synchronous requests are the helper thread's. */
const client = new HttpClient();

export function httpModule(vu) {
  let callback = DEFAULT_CALLBACK;
  const jars = new WeakMap();

  class CookieJar {
    constructor(cookies = new Cookies()) {
      jars.set(this, cookies);
    }
    cookiesForURL(url) {
      const found = {};
      for (const [name, value] of jars.get(this).of(url)) (found[name] ??= []).push(value);
      return found;
    }
    set(url, name, value, options) {
      const { path, expires, secure, max_age: maxAge } = options ?? {};
      jars.get(this).set(url, name, value, { path, expires, secure, maxAge });
    }
    clear(url) {
      jars.get(this).clear(url);
    }
    delete(url, name) {
      jars.get(this).delete(url, name);
    }
  }

  /** One request as a generator: yields what to send, is given the transport's answer, returns k6's response. */
  function* exchange(method, address, body, params) {
    if (!vu.call) throw vu.error('making http requests in the init stage is not supported');
    const given = params ?? {};
    for (const name of Object.keys(given)) {
      if (!PARAMS.includes(name)) throw vu.error(`the parameter "${name}" of requests is not part of the host that runs this script`);
    }
    const cookies = given.jar ? jars.get(given.jar) : vu.cookies;
    const type = given.responseType ?? (vu.options.discardResponseBodies ? 'none' : 'text');
    const timeout = milliseconds(given.timeout ?? 60_000);
    if (timeout === undefined) throw vu.error(`"${given.timeout}" is no timeout`);
    let left = given.redirects ?? vu.options.maxRedirects ?? 10;
    let url = typeof address === 'string' ? address : address.url;
    let sent = { method: method.toUpperCase(), ...encoded(body) };
    for (;;) {
      const headers = requestHeaders(given, sent, cookies.of(url));
      const answer = yield {
        vu: vu.id,
        method: sent.method,
        url,
        headers,
        body: sent.bytes,
        timeout,
        reuse: !vu.options.noConnectionReuse,
        insecure: vu.options.insecureSkipTLSVerify === true,
      };
      const setCookies = cookies.take(url, answer.setCookie ?? []);
      measure(sent, url, address, answer, given);
      const location = answer.headers?.Location;
      if (answer.status >= 300 && answer.status < 400 && location && left > 0) {
        left -= 1;
        url = new URL(location, url).href;
        if (answer.status < 307 && sent.method !== 'HEAD') sent = { method: 'GET', ...encoded(null) };
        continue;
      }
      if (answer.error) {
        const text = `${sent.method} ${url}: ${answer.error}`;
        if (vu.options.throw) throw vu.error(text);
        vu.log('warning', `request failed: ${text}`);
      }
      return response(sent, url, headers, answer, type, setCookies);
    }
  }

  function encoded(body) {
    if (body === undefined || body === null) return { text: '', bytes: undefined };
    if (typeof body === 'string') return { text: body, bytes: Buffer.from(body) };
    if (types.isAnyArrayBuffer(body)) return { text: '', bytes: new Uint8Array(body.slice(0)) };
    if (ArrayBuffer.isView(body)) return { text: '', bytes: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() };
    const text = new URLSearchParams(Object.entries(body)).toString();
    return { text, bytes: Buffer.from(text), contentType: 'application/x-www-form-urlencoded' };
  }

  function requestHeaders(given, sent, stored) {
    const headers = { 'User-Agent': vu.options.userAgent ?? 'k6-host/1.0' };
    if (sent.contentType) headers['Content-Type'] = sent.contentType;
    if (sent.bytes) headers['Content-Length'] = String(sent.bytes.length);
    const cookies = new Map(stored);
    for (const [name, value] of Object.entries(given.cookies ?? {})) {
      if (typeof value === 'string') cookies.has(name) || cookies.set(name, value);
      else if (value.replace || !cookies.has(name)) cookies.set(name, value.value);
    }
    if (cookies.size > 0) headers.Cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    for (const [name, value] of Object.entries(given.headers ?? {})) {
      const same = Object.keys(headers).find((each) => each.toLowerCase() === name.toLowerCase());
      headers[same ?? name] = String(value);
    }
    return headers;
  }

  function measure(sent, url, address, answer, given) {
    const accepts = given.responseCallback === undefined ? callback : given.responseCallback;
    const name = typeof address === 'string' ? url : address.name;
    const tags = { method: sent.method, name, url, status: String(answer.status), ...given.tags };
    if (answer.errorCode) tags.error_code = String(answer.errorCode);
    if (accepts !== null) {
      const ok = answer.status > 0 && accepts.accepts(answer.status);
      tags.expected_response = String(ok);
      vu.emit('http_req_failed', ok ? 0 : 1, tags);
    }
    vu.emit('http_reqs', 1, tags);
    for (const [phase, ms] of Object.entries(answer.timings)) vu.emit(`http_req_${phase}`, ms, tags);
    vu.emit('data_sent', sent.bytes?.length ?? 0);
    vu.emit('data_received', answer.body?.length ?? 0);
  }

  function response(sent, url, headers, answer, type, cookies) {
    const text = () => Buffer.from(answer.body).toString();
    const bodies = { text, binary: () => vu.bytes(answer.body), none: () => null };
    const made = {
      url,
      status: answer.status,
      status_text: answer.statusText ?? '',
      proto: answer.proto ?? '',
      headers: answer.headers ?? {},
      cookies,
      body: answer.body ? bodies[type]() : null,
      timings: answer.timings,
      error: answer.error ?? '',
      error_code: answer.errorCode ?? (answer.status >= 400 ? HTTP_ERROR + answer.status : 0),
      remote_ip: answer.remoteIp,
      remote_port: answer.remotePort,
      tls_version: answer.tlsVersion,
      tls_cipher_suite: answer.tlsCipherSuite,
      ocsp: { produced_at: 0, this_update: 0, next_update: 0, revocation_reason: '', revoked_at: 0, status: '' },
      request: {
        method: sent.method,
        url,
        body: sent.text,
        headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
        cookies: {},
      },
      json(selector) {
        if (!answer.body || type === 'none') throw vu.error('the response has no body');
        const parsed = vu.realm.JSON.parse(text());
        return selector === undefined ? parsed : select(parsed, selector);
      },
    };
    for (const name of MISSING_MEMBERS.Response) made[name] = missing(`Response.${name}`, vu.error);
    return made;
  }

  /** The plain part of k6's selectors: names and indexes with dots between them. */
  function select(value, selector) {
    if (!/^[\w-]+(\.[\w-]+)*$/.test(selector)) throw vu.error(`the selector "${selector}" is not part of the host that runs this script: names and dots are`);
    return selector.split('.').reduce((found, name) => found?.[name], value);
  }

  /** Runs exchanges side by side; `send` sends what they ask for next. */
  function drive(exchanges) {
    const states = exchanges.map((each) => each.next());
    for (;;) {
      const waiting = states.map((state, index) => ({ state, index })).filter(({ state }) => !state.done);
      if (waiting.length === 0) return states.map(({ value }) => value);
      const answers = vu.shared.blocking.requests(vu, waiting.map(({ state }) => state.value));
      waiting.forEach(({ index }, at) => (states[index] = exchanges[index].next(answers[at])));
    }
  }

  const request = (method, url, body, params) => drive([exchange(method, url, body, params)])[0];

  function asyncRequest(method, url, body, params) {
    return new vu.realm.Promise((resolve, reject) => {
      const running = exchange(method, url, body, params);
      const step = (answer) => {
        const { done, value } = running.next(answer);
        if (done) return resolve(value);
        let stopped = false;
        const over = vu.loop.hold(() => (stopped = true));
        void client.request(value).then((next) => {
          if (stopped) return;
          try {
            step(next);
          } catch (error) {
            reject(error);
          }
          over();
        });
        return undefined;
      };
      step();
    });
  }

  function batch(requests) {
    const entries = Object.entries(requests);
    const responses = drive(entries.map(([, each]) => {
      if (typeof each === 'string' || each.name !== undefined) return exchange('GET', each);
      if (Array.isArray(each)) return exchange(...each);
      return exchange(each.method, each.url, each.body, each.params);
    }));
    if (Array.isArray(requests)) return responses;
    return Object.fromEntries(entries.map(([name], index) => [name, responses[index]]));
  }

  function expectedStatuses(...ranges) {
    return expected((status) => ranges.some((range) =>
      typeof range === 'number' ? status === range : status >= range.min && status <= range.max));
  }

  return {
    get: (url, params) => request('GET', url, null, params),
    head: (url, params) => request('HEAD', url, null, params),
    del: (url, body, params) => request('DELETE', url, body, params),
    options: (url, body, params) => request('OPTIONS', url, body, params),
    patch: (url, body, params) => request('PATCH', url, body, params),
    post: (url, body, params) => request('POST', url, body, params),
    put: (url, body, params) => request('PUT', url, body, params),
    request,
    asyncRequest,
    batch,
    CookieJar,
    cookieJar: () => new CookieJar(vu.cookies),
    expectedStatuses,
    setResponseCallback: (value) => (callback = value),
    url(strings, ...values) {
      const join = (middle) => strings.reduce((text, part, at) => text + middle(at - 1) + part);
      return { url: join((at) => values[at]), name: join(() => '${}') };
    },
    ...CONSTANTS,
  };
}

/** `SSL_3_0` is "ssl3.0", `OCSP_STATUS_GOOD` is "good". */
const CONSTANTS = Object.fromEntries(
  MODULES['k6/http'].offered.filter((name) => /^(SSL|TLS|OCSP)_/.test(name)).map((name) => [
    name,
    name.startsWith('OCSP_')
      ? name.replace(/^OCSP_(STATUS|REASON)_/, '').toLowerCase()
      : name.toLowerCase().replace(/_(\d)_(\d)$/, '$1.$2'),
  ]),
);
