// An official python-socketio client in a process of its own (client.py), with the interface of Client.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { Child } from './processes.mjs';
import { eventually, within } from './wait.mjs';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The interpreter that `make test` set up: a virtual environment, or packages in a folder if that is impossible. */
function interpreter() {
  if (existsSync(path('.venv/bin/python'))) return ['.venv/bin/python', {}];
  assert.ok(existsSync(path('.venv/site')), 'python-socketio is missing: make test installs it');
  return ['python3', { PYTHONPATH: path('.venv/site') }];
}

export class PythonClient {
  events = [];
  #answers = new Map();
  #next = 1;

  constructor(name) {
    this.name = name;
    const [python, env] = interpreter();
    const command = python.startsWith('.') ? path(python) : python;
    this.child = new Child(`python ${name}`, command, ['-u', path('client.py')], { env, stdin: 'pipe' });
    this.child.onLine = (stream, text) => stream === 'stdout' && this.#line(JSON.parse(text));
  }

  #line(line) {
    if (line.event) return void this.events.push(line);
    this.#answers.get(line.re)?.(line);
    this.#answers.delete(line.re);
  }

  async request(op, fields = {}) {
    const re = this.#next++;
    const answered = new Promise((resolve) => this.#answers.set(re, resolve));
    this.child.stdin.write(`${JSON.stringify({ re, op, ...fields })}\n`);
    const line = await within(20_000, `python answers ${op}`, answered);
    assert.equal(line.error, undefined, `python ${op}: ${line.error}`);
    return line.ok;
  }

  connect(target, options = {}) {
    return this.request('connect', { url: target.url, auth: { username: this.name }, ...options });
  }

  async ok(event, data) {
    const ack = await this.request('emit', { event, data });
    assert.equal(ack?.status, 'ok', `${event} was answered ${JSON.stringify(ack)}`);
    return ack;
  }

  disconnect() {
    return this.request('disconnect');
  }

  /** Waits for an event whose payload satisfies the condition. */
  told(event, condition) {
    return eventually(() => this.events.find((seen) => seen.event === event && condition(seen.payload)), {
      what: () => `${this.name} receives ${event} ${condition}; seen: ${JSON.stringify(this.events).slice(-600)}`,
    });
  }
}
