// What @types/k6 declares, read with TypeScript's API: the values that each module exports, the members of a type, the
// global names. Used by conformance.test.mjs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { API, SymbolFlags } from 'typescript/unstable/sync';

const TYPES = fileURLToPath(new URL('../../node_modules/@types/k6', import.meta.url));
const VALUE = SymbolFlags.Value;

export class Declared {
  #folder = mkdtempSync(join(tmpdir(), 'roomcast-k6-types-'));
  #api = new API();
  #files;
  #project;

  constructor() {
    const { exports } = JSON.parse(readFileSync(join(TYPES, 'package.json'), 'utf8'));
    const modules = Object.entries(exports).filter(([, file]) => file.endsWith('.d.ts'));
    this.#files = new Map(modules.map(([path, file]) => [path.replace(/^\./, 'k6'), join(TYPES, file)]));
    this.#files.set('globals', fileURLToPath(new URL('../../globals.d.ts', import.meta.url)));
    this.#files.set('k6 globals', join(TYPES, 'global.d.ts'));
    const config = join(this.#folder, 'tsconfig.json');
    const compilerOptions = { lib: ['ES2022'], types: [], module: 'ESNext', moduleResolution: 'Bundler', strict: true, skipLibCheck: true, noEmit: true };
    writeFileSync(config, JSON.stringify({ compilerOptions, files: [...this.#files.values()] }));
    this.#project = this.#api.updateSnapshot({ openProjects: [config] }).getProject(config);
  }

  close() {
    this.#api.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get modules() {
    return [...this.#files.keys()].filter((name) => name.startsWith('k6') && name !== 'k6 globals');
  }

  #exports(module) {
    const source = this.#project.program.getSourceFile(this.#files.get(module));
    return this.#project.checker.getExportsOfModule(this.#project.checker.getSymbolAtLocation(source));
  }

  /** The names under which a module exports values: functions, classes, constants. */
  values(module) {
    return this.#exports(module).filter(({ name, flags }) => name !== 'default' && (flags & VALUE) !== 0).map(({ name }) => name).sort();
  }

  #members(type) {
    // `protected __brand` and inherited doubles are no members that a script may use.
    const names = this.#project.checker.getPropertiesOfType(type).map(({ name }) => name).filter((name) => !name.startsWith('__') && name !== 'prototype');
    return [...new Set(names)].sort();
  }

  /** The members of an exported interface, or of what an exported class makes. */
  members(module, name) {
    const symbol = this.#exports(module).find((each) => each.name === name);
    return this.#members(this.#project.checker.getDeclaredTypeOfSymbol(symbol));
  }

  /** The members of an exported constant, or the static ones of a class. */
  membersOfValue(module, name) {
    const symbol = this.#exports(module).find((each) => each.name === name);
    return this.#members(this.#project.checker.getTypeOfSymbol(symbol));
  }

  /** The names that files declare globally. */
  globals() {
    const named = (statement) => statement.name?.text ?? statement.declarationList?.declarations[0]?.name?.text;
    const found = ['globals', 'k6 globals'].flatMap((file) => {
      const { statements } = this.#project.program.getSourceFile(this.#files.get(file));
      const inner = [...statements].filter((statement) => statement.body?.statements).flatMap((statement) => [...statement.body.statements]);
      return [...(file === 'globals' ? statements : []), ...inner].map(named);
    });
    // `ImportMeta` is no name that a script can use.
    return [...new Set(found)].filter((name) => name && name !== 'ImportMeta').sort();
  }
}
