// The cookies of one VU, enough for sessions behind a load balancer: by host and path, with Max-Age and Secure. A cookie is
// its host's whatever its Domain is, and Expires counts only where it deletes one. Used by vu.mjs, modules/http.mjs and
// modules/websockets.mjs.

export class Cookies {
  #cookies = [];

  reset() {
    this.#cookies = [];
  }

  set(url, name, value, { path = '/', maxAge, expires, secure = false } = {}) {
    const { hostname } = new URL(url);
    this.delete(url, name, path);
    if (maxAge !== undefined && maxAge <= 0) return;
    if (maxAge === undefined && expires !== undefined && Date.parse(expires) <= Date.now()) return;
    this.#cookies.push({ hostname, path, secure, name, value, until: maxAge === undefined ? Infinity : Date.now() + maxAge * 1_000 });
  }

  delete(url, name, path) {
    const { hostname } = new URL(url);
    this.#cookies = this.#cookies.filter((cookie) =>
      cookie.hostname !== hostname || cookie.name !== name || (path !== undefined && cookie.path !== path));
  }

  clear(url) {
    const { hostname } = new URL(url);
    this.#cookies = this.#cookies.filter((cookie) => cookie.hostname !== hostname);
  }

  /** Those that a request to `url` carries, as `[name, value]`. */
  of(url) {
    const { hostname, pathname, protocol } = new URL(url);
    const covers = (path) => pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`);
    return this.#cookies
      .filter((cookie) => cookie.hostname === hostname && covers(cookie.path) && cookie.until > Date.now())
      .filter((cookie) => !cookie.secure || protocol === 'https:' || protocol === 'wss:')
      .map(({ name, value }) => [name, value]);
  }

  /** Takes the Set-Cookie headers of a response, and returns them in k6's shape. */
  take(url, headers) {
    const found = {};
    for (const header of headers) {
      const [pair, ...attributes] = header.split(';').map((part) => part.trim());
      const at = pair.indexOf('=');
      if (at < 1) continue;
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
      const given = Object.fromEntries(attributes.map((each) => {
        const equals = each.indexOf('=');
        return equals < 0 ? [each.toLowerCase(), ''] : [each.slice(0, equals).toLowerCase(), each.slice(equals + 1)];
      }));
      const maxAge = given['max-age'] === undefined ? undefined : Number(given['max-age']);
      const options = { path: given.path || '/', maxAge, expires: given.expires, secure: 'secure' in given };
      this.set(url, name, value, options);
      (found[name] ??= []).push({
        name,
        value,
        domain: given.domain ?? '',
        path: given.path ?? '',
        httpOnly: 'httponly' in given,
        secure: options.secure,
        maxAge: maxAge ?? 0,
        expires: given.expires ? Date.parse(given.expires) : 0,
      });
    }
    return found;
  }
}
