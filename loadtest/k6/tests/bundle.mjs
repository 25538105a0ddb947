// A TypeScript file of the scripts as a module of Node.js, for tests of what needs nothing of k6.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Of k6 itself, only what such a file imports without using it. */
const withoutK6 = {
  name: 'without k6',
  setup(builder) {
    builder.onResolve({ filter: /^k6($|\/)/ }, ({ path }) => ({ path, namespace: 'k6' }));
    const contents = `
      class Metric { add() {} }
      export { Metric as Counter, Metric as Trend, Metric as Rate, Metric as WebSocket };
      export const setTimeout = globalThis.setTimeout, clearTimeout = globalThis.clearTimeout;
      export default {};`;
    builder.onLoad({ filter: /.*/, namespace: 'k6' }, () => ({ contents }));
  },
};

/** The exports of a file below `loadtest/k6`. */
export async function load(path) {
  const entry = fileURLToPath(new URL(`../${path}`, import.meta.url));
  const options = { bundle: true, format: 'esm', write: false, logLevel: 'silent', plugins: [withoutK6] };
  const { outputFiles } = await build({ entryPoints: [entry], ...options });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}
