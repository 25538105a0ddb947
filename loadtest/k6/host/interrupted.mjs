/** Ends an iteration from outside: at the end of a graceful stop, on Ctrl-C, by `test.abort()`. */
export class Interrupted extends Error {
  constructor() {
    super('the iteration was interrupted');
  }
}
