// How a VU waits without giving up its thread: sleep() and the synchronous requests of k6/http. Called by the modules.
// Requests run in a helper thread (http-thread.mjs), which wakes this one when they are done.
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads';
import { Interrupted } from './interrupted.mjs';

export class Blocking {
  #wake;
  #interrupts;
  #isShared;
  #port;
  #sequence = 0;
  /** How long a VU blocked its thread while others of it had an iteration to run. */
  sharedMs = 0;

  /** `wake` counts the reasons to look again; `interrupts[id]` is 1 while the iteration of VU `id` has to end. */
  constructor(wake, interrupts, isShared) {
    this.#wake = wake;
    this.#interrupts = interrupts;
    this.#isShared = isShared;
  }

  sleep(vu, ms) {
    const until = performance.now() + ms;
    this.#wait(vu, () => performance.now() >= until, until);
  }

  /** The responses to several requests that are sent at once, in their order. */
  requests(vu, requests) {
    const port = (this.#port ??= this.#startHelper());
    const first = this.#sequence;
    requests.forEach((request) => port.postMessage({ id: this.#sequence++, request }));
    const responses = [];
    let left = requests.length;
    this.#wait(vu, () => {
      for (let found; (found = receiveMessageOnPort(port)); ) {
        const { id, response } = found.message;
        // Of requests whose iteration was interrupted nothing is wanted any more.
        if (id < first) continue;
        responses[id - first] = response;
        left -= 1;
      }
      return left === 0;
    });
    return responses;
  }

  #wait(vu, isOver, until = Infinity) {
    const started = performance.now();
    for (;;) {
      const seen = Atomics.load(this.#wake, 0);
      if (Atomics.load(this.#interrupts, vu.id) === 1) throw new Interrupted();
      if (isOver()) break;
      Atomics.wait(this.#wake, 0, seen, Math.max(0, until - performance.now()));
    }
    if (this.#isShared()) this.sharedMs += performance.now() - started;
  }

  #startHelper() {
    const { port1, port2 } = new MessageChannel();
    const workerData = { port: port2, wake: this.#wake };
    new Worker(new URL('http-thread.mjs', import.meta.url), { workerData, transferList: [port2] }).unref();
    return port1;
  }
}
