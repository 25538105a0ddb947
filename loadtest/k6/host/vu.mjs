// One virtual user: a realm of its own with k6's globals, the script evaluated in it, and the iterations it runs. Made by
// thread.mjs. A realm (node:vm) and not Node's globals, so that a script finds what k6 has and nothing else.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { types } from 'node:util';
import vm from 'node:vm';
import { Cookies } from './cookies.mjs';
import { EXIT } from './errors.mjs';
import { Interrupted } from './interrupted.mjs';
import { Loop } from './loop.mjs';
import { consoleModule } from './modules/console.mjs';
import { encodingModule } from './modules/encoding.mjs';
import { executionModule } from './modules/execution.mjs';
import { httpModule } from './modules/http.mjs';
import { k6Module } from './modules/k6.mjs';
import { metricsModule } from './modules/metrics.mjs';
import { timersModule } from './modules/timers.mjs';
import { websocketsModule } from './modules/websockets.mjs';
import { MODULES, missing } from './surface.mjs';

export { Interrupted };

const IMPLEMENTATIONS = {
  k6: k6Module,
  'k6/encoding': encodingModule,
  'k6/execution': executionModule,
  'k6/http': httpModule,
  'k6/metrics': metricsModule,
  'k6/timers': timersModule,
  'k6/websockets': websocketsModule,
};

/** What the realm's own code has to make, so that `instanceof` holds in the script. */
const REALM = '({ Error, TypeError, ArrayBuffer, Uint8Array, Promise, JSON, Math, object: () => ({}) })';

/** What of a function's value leaves the thread: the data of setup(), or the files of handleSummary(). */
const RESULTS = {
  data: (value) => JSON.stringify(value),
  files: (value) => Object.entries(value ?? {}).map(([name, content]) => [name, types.isAnyArrayBuffer(content) ? new Uint8Array(content) : String(content)]),
};

export class Vu {
  #context = vm.createContext({});
  #exports;
  #modules = new Map();
  /** The call that is being run; undefined while the script is loaded. */
  call;
  /** The metrics that the script made: name to `{type, isTime}`. */
  metrics = new Map();
  /** The path of `group()` calls that the script is in. */
  group = '';
  /** What `exec.vu.metrics.tags` holds. */
  tags = {};
  metadata = {};
  iterations = 0;
  cookies = new Cookies();
  loop = new Loop();

  constructor(id, shared) {
    this.id = id;
    this.shared = shared;
    this.realm = vm.runInContext(REALM, this.#context);
  }

  get options() {
    return this.shared.options;
  }

  /** Whether an iteration of this VU is under way. */
  get busy() {
    return this.loop.running;
  }

  error = (message) => new this.realm.Error(message);

  owns = (promise) => promise instanceof this.realm.Promise;

  log(level, text) {
    this.shared.post({ type: 'log', level, text });
  }

  /** A sample with the tags of the VU, the scenario and the group. */
  emit(name, value, tags) {
    const { call } = this;
    this.shared.emit(name, value, { ...this.options.tags, ...call?.tags, group: this.group, ...this.tags, ...tags });
  }

  /** Ends the run: every iteration is interrupted, this one at once. */
  abort(text) {
    this.shared.post({ type: 'abort', code: EXIT.scriptAborted, text });
    const interrupted = new Interrupted();
    this.loop.fail(interrupted);
    throw interrupted;
  }

  interrupt() {
    this.loop.fail(new Interrupted());
  }

  /** Evaluates the script: what k6 calls the init stage. Returns what the run has to know of it. */
  load() {
    const { realm } = this;
    this.env = Object.assign(realm.object(), this.shared.env);
    const timers = this.#module('k6/timers');
    Object.assign(this.#context, {
      __ENV: this.env,
      __VU: this.id,
      console: consoleModule(this),
      open: (path, mode) => this.#openFile(path, mode),
      ...Object.fromEntries(MODULES['k6/timers'].offered.map((name) => [name, timers[name]])),
    });
    const module = { exports: realm.object() };
    const resolveMissing = missing('import.meta.resolve', this.error);
    this.shared.script.runInContext(this.#context)(module, module.exports, (name) => this.#module(name), resolveMissing);
    this.#exports = module.exports;
    const names = Object.keys(this.#exports);
    return {
      options: JSON.parse(JSON.stringify(this.#exports.options ?? {})),
      functions: names.filter((name) => typeof this.#exports[name] === 'function'),
      metrics: [...this.metrics],
    };
  }

  /** Runs one exported function to its end. `call.args` are JSON texts, which each call gets a copy of. */
  async run(call) {
    this.call = call;
    this.group = call.iteration ? '' : `::${call.function}`;
    this.env = this.#context.__ENV = Object.assign(this.realm.object(), this.shared.env, call.env);
    if (call.iteration) {
      this.#context.__ITER = this.iterations;
      this.iterations += 1;
      if (!this.options.noCookiesReset) this.cookies.reset();
    }
    const values = call.args.map((text) => (text === undefined ? undefined : this.realm.JSON.parse(text)));
    const value = await this.loop.run(() => this.#exports[call.function](...values));
    return call.result && RESULTS[call.result](value);
  }

  #module(name) {
    if (!this.#modules.has(name)) this.#modules.set(name, this.#makeModule(name));
    return this.#modules.get(name);
  }

  /** A module's object: a name that it lacks is an error, not undefined. */
  #makeModule(name) {
    const object = IMPLEMENTATIONS[name](this);
    for (const absent of MODULES[name].missing) object[absent] = missing(`${absent} of ${name}`, this.error);
    return new Proxy(object, {
      get: (target, key) => {
        if (typeof key === 'string' && !Object.hasOwn(target, key) && key !== 'toJSON' && key !== 'then') {
          throw this.error(`${name} has no "${key}"`);
        }
        return target[key];
      },
    });
  }

  #openFile(path, mode) {
    if (this.call) throw this.error('the "open()" function is only available in the init stage, when the script is loaded');
    const bytes = readFileSync(resolve(this.shared.folder, path));
    return mode === 'b' ? this.bytes(bytes) : bytes.toString();
  }

  /** A copy of `bytes` as an ArrayBuffer of the script's realm. */
  bytes(bytes) {
    const copy = new this.realm.ArrayBuffer(bytes.length);
    new Uint8Array(copy).set(bytes);
    return copy;
  }
}
