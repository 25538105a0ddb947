// Holds the host against @types/k6: whatever a script may use by its types is there, or fails with an error that names
// it, and never is undefined; and the host has nothing that k6 has not.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { COMMON_SETTINGS, EXECUTOR_SETTINGS } from '../options.mjs';
import { GLOBALS, MISSING_MEMBERS, MODULES, OPTIONS } from '../surface.mjs';
import { Declared } from './declared.mjs';
import { httpServer, run } from './harness.mjs';

const declared = new Declared();
after(() => declared.close());

const sorted = (names) => [...names].sort();

test('the types are read at all', () => {
  assert.deepEqual(declared.values('k6'), ['check', 'fail', 'group', 'randomSeed', 'sleep']);
  assert.ok(declared.members('k6/http', 'Response').includes('status_text'));
  assert.ok(declared.modules.length > 10, String(declared.modules));
});

test('each module of the host exports what @types/k6 declares, offered or missing, and nothing else', () => {
  for (const [module, { offered, missing }] of Object.entries(MODULES)) {
    assert.deepEqual(sorted([...offered, ...missing]), declared.values(module), module);
  }
});

test('the global names are those of @types/k6 and globals.d.ts', () => {
  assert.deepEqual(sorted(GLOBALS), declared.globals());
});

test('options and the settings of scenarios are those of @types/k6', () => {
  const options = declared.members('k6/options', 'Options');
  for (const name of [...OPTIONS.offered, ...OPTIONS.ignored]) assert.ok(options.includes(name), name);
  const interfaces = {
    'constant-vus': 'ConstantVUsScenario',
    'ramping-vus': 'RampingVUsScenario',
    'per-vu-iterations': 'PerVUIterationsScenario',
    'shared-iterations': 'SharedIterationsScenario',
    'constant-arrival-rate': 'ConstantArrivalRateScenario',
    'ramping-arrival-rate': 'RampingArrivalRateScenario',
  };
  assert.deepEqual(sorted(Object.keys(EXECUTOR_SETTINGS)), sorted(Object.keys(interfaces)));
  for (const [executor, name] of Object.entries(interfaces)) {
    assert.deepEqual(sorted([...COMMON_SETTINGS, ...Object.keys(EXECUTOR_SETTINGS[executor])]), declared.members('k6/options', name), name);
  }
});

test('an option that the host does not have ends the run with its name', async (t) => {
  const others = declared.members('k6/options', 'Options').filter((name) => ![...OPTIONS.offered, ...OPTIONS.ignored].includes(name));
  assert.ok(others.includes('rps'));
  const [name] = others;
  const { code, stderr } = await run(t, `export const options = { ${name}: 1 }; export default function () {}`);
  assert.equal(code, 104);
  assert.match(stderr, new RegExp(`option "${name}"`));
});

test('modules that the host does not offer are errors that name them', async (t) => {
  const others = declared.modules.filter((name) => !Object.hasOwn(MODULES, name) && name !== 'k6/options');
  assert.ok(others.includes('k6/browser') && others.includes('k6/crypto'));
  const { code, stderr } = await run(t, `${others.map((name) => `import ${JSON.stringify(name)};`).join('\n')}\nexport default function () {}`);
  assert.equal(code, 107);
  for (const name of others) assert.match(stderr, new RegExp(`"${name}" is not part of the host`));
});

test('every name, and every member of every object, is there in a running script or says that it is missing', async (t) => {
  const url = await httpServer(t, (request, response) => response.end('{}'));
  const modules = Object.keys(MODULES);
  const wanted = {
    response: declared.members('k6/http', 'Response'),
    jar: declared.members('k6/http', 'CookieJar'),
    socket: declared.members('k6/websockets', 'WebSocket'),
    socketClass: declared.membersOfValue('k6/websockets', 'WebSocket'),
    blob: declared.members('k6/websockets', 'Blob'),
    metric: declared.members('k6/metrics', 'Trend'),
    scenario: declared.membersOfValue('k6/execution', 'scenario'),
    instance: declared.membersOfValue('k6/execution', 'instance'),
    test: declared.membersOfValue('k6/execution', 'test'),
    vu: declared.membersOfValue('k6/execution', 'vu'),
  };
  for (const names of Object.values(wanted)) assert.ok(names.length > 1);
  const { code, stderr, summary } = await run(t, `
    ${modules.map((name, at) => `import * as names${at} from ${JSON.stringify(name)}; import default${at} from ${JSON.stringify(name)};`).join('\n')}
    import http from 'k6/http';
    import exec from 'k6/execution';
    import { WebSocket, Blob } from 'k6/websockets';
    import { Trend } from 'k6/metrics';
    const trend = new Trend('trend');
    const modules = ${JSON.stringify(MODULES)};
    export function handleSummary(data) { return { 'summary.json': JSON.stringify({ data, absent }) }; }
    export const options = { scenarios: { a: { executor: 'shared-iterations', vus: 1, iterations: 1 } } };
    export function teardown() {}
    const absent: string[] = [];
    export default function () {
      const has = (object: any, names: string[], what: string) => {
        for (const name of names) if (!(name in object)) console.log('ABSENT', what, name);
      };
      const objects: any[] = [${modules.map((_, at) => `names${at}, default${at}`).join(', ')}];
      Object.values(modules).forEach(({ offered, missing }: any, at: number) => {
        for (const object of [objects[2 * at], objects[2 * at + 1]]) {
          for (const name of offered) if (object[name] === undefined) console.log('ABSENT', Object.keys(modules)[at], name);
          for (const name of missing) {
            for (const use of [() => object[name]('x'), () => new object[name]('x')]) {
              try { use(); console.log('SILENT', name); } catch (error) { if (!(error as Error).message.includes(name + ' of ' + Object.keys(modules)[at])) console.log('NAMELESS', name, String(error)); }
            }
          }
        }
      });
      for (const name of ${JSON.stringify(GLOBALS)}) if ((globalThis as any)[name] === undefined) console.log('ABSENT', 'global', name);
      const response: any = http.get(__ENV.URL);
      const wanted = ${JSON.stringify(wanted)};
      has(response, wanted.response, 'Response');
      for (const name of ${JSON.stringify(MISSING_MEMBERS.Response)}) {
        try { response[name](); console.log('SILENT', name); } catch (error) { if (!(error as Error).message.includes(name)) console.log('NAMELESS', name); }
      }
      has(http.cookieJar(), wanted.jar, 'CookieJar');
      const socket = new WebSocket('ws://127.0.0.1:1');
      socket.onerror = () => {};
      has(socket, wanted.socket, 'WebSocket');
      has(WebSocket, wanted.socketClass, 'WebSocket class');
      has(new Blob(), wanted.blob, 'Blob');
      has(trend, wanted.metric, 'Trend');
      for (const part of ['scenario', 'instance', 'test', 'vu'] as const) {
        has(exec[part], wanted[part], part);
        for (const name of wanted[part]) if ((exec as any)[part][name] === undefined) console.log('ABSENT', part, name);
      }
      console.log('to the end');
    }
  `, { env: { URL: url } });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /to the end/);
  assert.doesNotMatch(stderr, /ABSENT|SILENT|NAMELESS/);
  assert.ok(summary);
});
