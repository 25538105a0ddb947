// How a run ends: k6's exit codes, the error that carries one, and stack traces that point into the script's files.
import { SourceMap } from 'node:module';
import { relative } from 'node:path';

/** The name under which the bundled script stands in stack traces, until a describer replaces it. */
export const BUNDLE_NAME = 'k6-script-bundle.js';

export const EXIT = {
  thresholds: 99,
  setupTimeout: 100,
  teardownTimeout: 101,
  genericTimeout: 102,
  invalidConfig: 104,
  externalAbort: 105,
  scriptException: 107,
  scriptAborted: 108,
  markedAsFailed: 110,
};

/** Ends the run with `code`. */
export class HostError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const place = new RegExp(`(?:[^\\s()]*/)?${BUNDLE_NAME.replaceAll('.', '\\.')}:(\\d+):(\\d+)`, 'g');

/** Makes of what a script threw a text with the script's own files and lines; frames of the host are left out. */
export function describer(map) {
  const sources = new SourceMap(map);
  return (thrown) => {
    const stack = typeof thrown?.stack === 'string' ? thrown.stack : String(thrown);
    const mapped = stack.replace(place, (whole, line, column) => {
      const { originalSource, originalLine, originalColumn } = sources.findEntry(Number(line) - 1, Number(column) - 1);
      if (originalSource === undefined) return whole;
      return `${relative('', originalSource) || originalSource}:${originalLine + 1}:${originalColumn + 1}`;
    });
    return mapped.split('\n').filter((row) => !/^\s+at /.test(row) || !/node:|k6\/host\/|node_modules\//.test(row)).join('\n');
  };
}
