// `npm test`: bundles tests/*.test.mjs together with the TypeScript they import (Node 20 cannot
// strip types), then runs the result with `node --test`.
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';

process.chdir(new URL('..', import.meta.url).pathname);
const outdir = 'node_modules/.cache/roomcast-ui-tests';
rmSync(outdir, { recursive: true, force: true });

const names = readdirSync('tests').filter((name) => name.endsWith('.test.mjs'));
await build({
  entryPoints: names.map((name) => `tests/${name}`),
  outdir,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  sourcemap: 'inline',
  logLevel: 'warning',
});
const files = names.map((name) => `${outdir}/${name}`);
const { status } = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...files], { stdio: 'inherit' });
process.exit(status ?? 1);
