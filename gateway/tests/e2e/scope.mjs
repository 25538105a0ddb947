// Resources of a story, which are released when it ends, with success or failure.
// Used by the other helpers; tests use only `story` and `step`.
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

  /** Fails the story if a process panicked or ended by itself. */
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

/** The scope of the running story, or outside of a story one that ends with this process. */
export const scope = () => current;

/** A test with a deadline that owns the processes it starts. Logs are printed only if it fails. */
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

/** A named part of a story; later parts run even if it fails. */
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
