// `npm test`: the tests of the host, and those of the scripts' modules where there are any (tests/*.test.ts), which are
// bundled first, since Node 20 cannot strip types.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

process.chdir(new URL('../..', import.meta.url).pathname);
const own = readdirSync('host/tests').filter((name) => name.endsWith('.test.mjs')).map((name) => `host/tests/${name}`);
const outdir = 'node_modules/.cache/roomcast-k6-tests';
rmSync(outdir, { recursive: true, force: true });
const names = existsSync('tests') ? readdirSync('tests').filter((name) => name.endsWith('.test.ts')) : [];
if (names.length > 0) {
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
}
const files = [...own, ...names.map((name) => `${outdir}/${name.replace(/\.ts$/, '.mjs')}`)];
const { status } = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...files], { stdio: 'inherit' });
process.exit(status ?? 1);
