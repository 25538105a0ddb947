// What a story started, so that it is gone when the story ends, whichever way it ends.
// Used by every helper beside it; tests see only `story` and `step`.
import assert from 'node:assert/strict';
import test from 'node:test';

class Scope {
  #closers = [];
  processes = [];

  /** Runs at the end of the story, last registered first. */
  defer(close) {
    this.#closers.push(close);
  }

  async close() {
    for (const close of this.#closers.splice(0).reverse()) {
      await Promise.resolve()
        .then(close)
        .catch((error) => console.error(`clean-up: ${error}`));
    }
  }

  /** A process that panicked or went away by itself fails the story, whatever else it proved. */
  verify() {
    for (const process of this.processes) {
      const panic = process.lines.find((line) => /\bpanicked at\b/.test(line.text));
      assert.ok(!panic, `${process.label} panicked: ${panic?.text}`);
      assert.ok(!process.diedAlone, `${process.label} ended by itself: ${process.ending}`);
    }
  }

  printLogs() {
    for (const { label, lines } of this.processes) {
      console.error(`--- ${label}: last ${Math.min(lines.length, 60)} of ${lines.length} lines`);
      for (const { text } of lines.slice(-60)) console.error(`${label} | ${text.slice(0, 400)}`);
    }
  }
}

const outside = new Scope();
let current = outside;

/** The scope of the running story; outside of any, one that ends with this process. */
export const scope = () => current;

/** A test that owns what it starts and has a deadline. Logs are printed only where it fails. */
export function story(name, { timeout = 60_000 } = {}, body) {
  test(name, async (t) => {
    const own = (current = new Scope());
    own.test = t;
    own.failed = false;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${timeout} ms`)), timeout);
    });
    try {
      await Promise.race([body(t), late]);
      own.verify();
    } catch (error) {
      own.failed = true;
      throw error;
    } finally {
      clearTimeout(timer);
      if (own.failed) own.printLogs();
      await own.close();
      current = outside;
    }
  });
}

/** A named part of a story; the parts after a failed one still run. */
export async function step(name, body) {
  const own = current;
  await own.test.test(name, async () => {
    try {
      await body();
    } catch (error) {
      own.failed = true;
      throw error;
    }
  });
}
