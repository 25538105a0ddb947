// Makes the page of a summary that the swarm left: render.mjs FOLDER reads FOLDER/summary.json and writes
// FOLDER/report.html. The page is that of the scripts (lib/page.ts). Called by tools/swarm.
import { build } from 'esbuild';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [, , folder] = process.argv;
const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL('lib/page.ts', import.meta.url))],
  bundle: true,
  write: false,
  format: 'esm',
  logLevel: 'silent',
});
const source = Buffer.from(outputFiles[0].contents).toString('base64');
const { page } = await import(`data:text/javascript;base64,${source}`);
const report = JSON.parse(await readFile(join(folder, 'summary.json'), 'utf8'));
await writeFile(join(folder, 'report.html'), page(report));
console.log(`report: ${join(folder, 'report.html')}`);
