// Child processes: started, read line by line, and always killed. They end with this process, even if it is killed
// (by setpriv, which is part of Debian), and at the latest with their story.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { scope } from './scope.mjs';

const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
const KEPT_LINES = 5_000;
const alive = new Set();
process.on('exit', () => alive.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

export class Child {
  #child;
  #asked = false;
  #waiters = new Set();
  lines = [];

  constructor(label, command, args, { env = {}, cwd, stdin = 'ignore' } = {}) {
    this.label = label;
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('ROOMCAST_'));
    const [file, ...rest] = SETPRIV ? [SETPRIV, '--pdeathsig', 'KILL', command, ...args] : [command, ...args];
    this.#child = spawn(file, rest, {
      env: { ...Object.fromEntries(inherited), ...env },
      cwd,
      stdio: [stdin, 'pipe', 'pipe'],
    });
    const child = this.#child;
    alive.add(child);
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => resolve((this.ending = String(error))));
      child.once('exit', (code, signal) => resolve((this.ending = signal ?? `exit code ${code}`)));
    }).then(() => {
      alive.delete(child);
      this.code = child.exitCode;
      this.diedAlone = !this.#asked;
      this.#waiters.forEach((check) => check());
    });
    for (const stream of ['stdout', 'stderr']) {
      createInterface({ input: child[stream] }).on('line', (text) => this.#line(stream, text));
      child[stream].unref?.();
    }
    child.unref();
    scope().processes.push(this);
    scope().defer(() => this.kill9());
  }

  get pid() {
    return this.#child.pid;
  }

  get running() {
    return this.ending === undefined;
  }

  get stdin() {
    return this.#child.stdin;
  }

  #line(stream, text) {
    this.lines.push({ stream, text });
    if (this.lines.length > KEPT_LINES) this.lines.splice(0, KEPT_LINES / 2);
    this.onLine?.(stream, text);
    this.#waiters.forEach((check) => check());
  }

  /** The first line of stdout that matches; fails if the process ends or the time is over before. */
  async line(pattern, timeout = 20_000) {
    const find = () => {
      for (const { stream, text } of this.lines) {
        const match = stream === 'stdout' && text.match(pattern);
        if (match) return match;
      }
    };
    return new Promise((resolve, reject) => {
      const done = (callback, value) => {
        this.#waiters.delete(check);
        clearTimeout(timer);
        callback(value);
      };
      const lastLines = () => this.lines.slice(-5).map((line) => line.text).join('\n');
      const check = () => {
        const match = find();
        if (match) done(resolve, match);
        else if (!this.running) done(reject, new Error(`${this.label}: ${this.ending}\n${lastLines()}`));
      };
      const timer = setTimeout(
        () => done(reject, new Error(`${this.label} did not print ${pattern} within ${timeout} ms\n${lastLines()}`)),
        timeout,
      );
      this.#waiters.add(check);
      check();
    });
  }

  signal(name) {
    this.#child.kill(name);
  }

  /** Stops the process, like a machine that hangs, until `signal('SIGCONT')`; resolves once every thread has stopped. */
  async freeze() {
    this.signal('SIGSTOP');
    const tasks = `/proc/${this.#child.pid}/task`;
    const stopped = (task) => /\) T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'));
    while (this.running && !readdirSync(tasks).every(stopped)) await sleep(2);
  }

  /** Kills the process, like a crash. */
  async kill9() {
    this.#asked = true;
    this.#child.ref(); // the caller waits for its end
    if (this.running) this.#child.kill('SIGKILL');
    await this.exited;
  }

  /** Stops the process like an operator: SIGTERM, after which it must exit with code 0. */
  async stop(timeout = 20_000) {
    this.#asked = true;
    this.#child.ref();
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), timeout);
    await this.exited;
    clearTimeout(late);
    assert.equal(this.ending, 'exit code 0', `${this.label} after SIGTERM (${timeout} ms allowed)`);
  }

  /** The process is expected to end by itself. */
  mayEnd() {
    this.#asked = true;
    return this;
  }
}
