// Makes one script of a TypeScript file and what it imports, as k6 does when it starts. Called by run.mjs; the result
// is evaluated once for each VU by vu.mjs. What k6 would not find is an error here: remote modules, packages, a path
// without its extension; so is a module of k6, or a name in one, that this host does not have.
import { build } from 'esbuild';
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUNDLE_NAME, EXIT, HostError } from './errors.mjs';
import { MODULES } from './surface.mjs';

/** `{code, map, folder}`: a function expression that takes (module, exports, __k6, __resolve), its source map, where it is. */
export async function bundle(path) {
  try {
    const { outputFiles } = await build({
      entryPoints: [path],
      outfile: BUNDLE_NAME,
      bundle: true,
      write: false,
      format: 'cjs',
      target: 'es2022',
      platform: 'neutral',
      sourcemap: 'external',
      logLevel: 'silent',
      define: { 'import.meta.resolve': '__resolve' },
      logOverride: { 'empty-import-meta': 'error' },
      banner: { js: '(function (module, exports, __k6, __resolve) {' },
      footer: { js: '})' },
      plugins: [{ name: 'k6', setup }],
    });
    const text = (end) => outputFiles.find((file) => file.path.endsWith(end)).text;
    return { code: text('.js'), map: JSON.parse(text('.map')), folder: dirname(path) };
  } catch (error) {
    if (!error.errors) throw error;
    const lines = error.errors.map(({ text, location }) =>
      location ? `${location.file}:${location.line}:${location.column + 1}: ${text}` : text);
    throw new HostError(EXIT.scriptException, lines.join('\n'));
  }
}

function setup({ onResolve, onLoad }) {
  onResolve({ filter: /.*/ }, ({ path, kind, resolveDir }) => {
    if (kind === 'entry-point') return undefined;
    if (Object.hasOwn(MODULES, path)) return { path, namespace: 'k6' };
    if (path === 'k6' || path.startsWith('k6/')) {
      return refusal(`the module "${path}" is not part of the host that runs this script, which has ${Object.keys(MODULES).join(', ')}`);
    }
    if (/^https?:/.test(path)) return refusal(`"${path}" is a remote module: keep what is needed in a file`);
    const file = path.startsWith('file:') ? fileURLToPath(path) : path;
    if (!/^\.{0,2}\//.test(file)) return refusal(`"${path}" is a package: k6 imports files, by a path that begins with ./ or ../`);
    const absolute = isAbsolute(file) ? file : join(resolveDir, file);
    return existsSync(absolute) ? { path: absolute } : refusal(`there is no file "${path}"; k6 wants it with its extension`);
  });
  onLoad({ filter: /.*/, namespace: 'k6' }, ({ path }) => {
    const { offered, missing } = MODULES[path];
    const names = [...offered, ...missing];
    return { contents: `const k6 = __k6(${JSON.stringify(path)});\nexport const { ${names.join(', ')} } = k6;\nexport default k6;\n` };
  });
}

const refusal = (text) => ({ errors: [{ text }] });
