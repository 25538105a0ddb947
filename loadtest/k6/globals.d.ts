// The globals that k6 1.6 and newer have and that @types/k6 does not declare. A script may use these, those of
// @types/k6 and the language's own: no DOM, no Node.js.

declare const console: {
  log(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
};

declare function setTimeout<A extends unknown[]>(callback: (...values: A) => void, milliseconds?: number, ...values: A): number;
declare function setInterval<A extends unknown[]>(callback: (...values: A) => void, milliseconds?: number, ...values: A): number;
declare function clearTimeout(timer: number): void;
declare function clearInterval(timer: number): void;
