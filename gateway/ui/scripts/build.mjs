// `npm run build`: bundles src/main.ts and src/style/app.css and copies index.html, the official client, and the pages of the classic
// chats, each of which uses the Socket.IO client that its original used, so that dist/ holds exactly the files that a gateway
// embeds. The licences of bundled packages are appended to app.js, and those of the clients to them.
import { build } from 'esbuild';
import { cp, mkdir, readFile, readdir, rm, appendFile, stat, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

process.chdir(new URL('..', import.meta.url).pathname);
await rm('dist', { recursive: true, force: true });
await mkdir('dist');

const { metafile } = await build({
  entryPoints: { app: 'src/main.ts' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022', 'chrome105', 'firefox121', 'safari16'],
  legalComments: 'none',
  metafile: true,
});
await build({
  entryPoints: { app: 'src/style/app.css' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  target: ['chrome105', 'firefox121', 'safari16'],
});
await cp('index.html', 'dist/index.html');
await copyClient();
await cp('classic', 'dist/classic', { recursive: true });
const clients = { '2.2.0': 'socket.io.slim.js', '3.0.5': 'socket.io.min.js', '3.1.1': 'socket.io.min.js', '4.8.4': 'socket.io.min.js' };
for (const [version, file] of Object.entries(clients)) {
  const folder = `node_modules/socket.io-client${version === '4.8.4' ? '' : `-${version}`}`;
  const code = (await readFile(`${folder}/dist/${file}`, 'utf8')).replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  const licence = await readFile(`${folder}/LICENSE`, 'utf8');
  await writeFile(`dist/classic/client-${version}.js`, `${code}\n/*!\nsocket.io-client ${version}\n\n${licence.trim()}\n*/\n`);
}
// Last: where it is missing, the build failed.
await appendFile('dist/app.js', await notices(metafile));

for (const name of (await readdir('dist', { recursive: true })).sort()) {
  if ((await stat(`dist/${name}`)).isDirectory()) continue;
  const bytes = await readFile(`dist/${name}`);
  console.log(`dist/${name}  ${(await stat(`dist/${name}`)).size} bytes, ${gzipSync(bytes).length} gzipped`);
}

/** The official client as it is published, with its version, which gateways serve as /socket.io/socket.io.js. */
async function copyClient() {
  const { version } = JSON.parse(await readFile('node_modules/socket.io-client/package.json', 'utf8'));
  await mkdir('dist/socket.io');
  for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js']) {
    for (const file of [name, `${name}.map`]) {
      await cp(`node_modules/socket.io-client/dist/${file}`, `dist/socket.io/${file}`);
    }
  }
  await writeFile('dist/socket.io/version', `${version}\n`);
}

/** The licence texts of every package that ended up in the bundle, as one comment. */
async function notices({ inputs }) {
  const packages = new Set();
  for (const path of Object.keys(inputs)) {
    const found = path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)/);
    if (found) packages.add(found[1]);
  }
  const parts = [];
  for (const name of [...packages].sort()) {
    const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`, 'utf8'));
    const file = (await readdir(`node_modules/${name}`)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(`node_modules/${name}/${file}`, 'utf8') : `License: ${license}\n`;
    parts.push(`${name} ${version}\n\n${text.trim().replaceAll('*/', '* /')}\n`);
  }
  return `/*!\nThird-party software in this file:\n\n${parts.join('\n----\n\n')}*/\n`;
}
