// Six reverse proxies: how each is started with the configuration that docs/OPERATIONS.md shows for it, and reloaded.
// What stands around that text, ports and files, is this test's. Used by run.mjs.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';

import { Child } from '../e2e/processes.mjs';
import { randomPort } from '../e2e/redis.mjs';
import { scope } from '../e2e/scope.mjs';
import { eventually } from '../e2e/wait.mjs';
import { request } from '../e2e/raw.mjs';

const TOP = fileURLToPath(new URL('../../../', import.meta.url));
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const APACHE_MODULES = '/usr/lib/apache2/modules';

/** What a command said, on either stream; also in the error where it failed. */
export function run(command, args) {
  return new Promise((resolve, reject) => {
    execFile(command, args, { env: { ...process.env, PATH }, timeout: 60_000 }, (error, out, err) =>
      error ? reject(new Error(`${command} ${args.join(' ')}: ${err || out || error.message}`)) : resolve(out + err),
    );
  });
}

/** The block of code below a heading of docs/OPERATIONS.md. */
async function documented(heading) {
  const page = await readFile(`${TOP}docs/OPERATIONS.md`, 'utf8');
  const section = page.split(/^### /m).find((section) => section.startsWith(`${heading}\n`));
  const block = section?.match(/^```\w*\n([\s\S]*?)^```$/m)?.[1];
  if (!block) throw new Error(`docs/OPERATIONS.md has no configuration of ${heading}`);
  return block;
}

/** What a configuration of the page means on this machine. */
function substitute(text, { gateways, port, tlsPort, certificates }) {
  let replaced = text;
  gateways.forEach((gateway, i) => {
    replaced = replaced.replaceAll(`10.0.0.${i + 1}:3000`, `127.0.0.1:${gateway.port}`);
    // The same address where host and port are apart.
    replaced = replaced.replace(new RegExp(`(10\\.0\\.0\\.${i + 1}\\b.*?)\\b3000\\b`, 'g'), `$1${gateway.port}`);
    replaced = replaced.replaceAll(`10.0.0.${i + 1}`, '127.0.0.1');
  });
  return replaced
    .replaceAll('/etc/ssl/chat', `${certificates}/chat`)
    .replace(/(^|[\s:*"])80\b(?!\.)/g, `$1${port}`)
    .replace(/(^|[\s:*"])443\b(?!\.)/g, `$1${tlsPort}`);
}

/**
 * Of each: the command that must exist; the file that it reads, around the page's text; how it is started and reloaded
 * with a changed configuration; and what is known of it.
 */
export const PROXIES = {
  HAProxy: {
    command: 'haproxy',
    file: (text) => `global\n    maxconn 1000\n${text}`,
    change: (config) => `${config}\n# changed\n`,
    start: ({ file }) => ['haproxy', ['-W', '-f', file]],
    reload: ({ child }) => process.kill(child.pid, 'SIGUSR2'),
    version: ['-v'],
  },
  nginx: {
    command: 'nginx',
    file: (text, { folder }) =>
      `daemon off;\nuser root;\npid ${folder}/nginx.pid;\nerror_log stderr;\nworker_processes 1;\nevents {}\nhttp {\naccess_log off;\n` +
      ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};\n`).join('') +
      `${text}\n}\n`,
    change: (config) => `${config}\n# changed\n`,
    start: ({ file }) => ['nginx', ['-c', file]],
    reload: ({ child }) => process.kill(child.pid, 'SIGHUP'),
    version: ['-v'],
  },
  Apache: {
    command: 'apache2',
    file: (text, { folder }) => {
      const modules = [
        'mpm_event', 'authz_core', 'unixd', 'ssl', 'socache_shmcb', 'http2', 'proxy', 'proxy_http', 'proxy_balancer',
        'lbmethod_byrequests', 'slotmem_shm',
      ];
      const load = modules.filter((name) => existsSync(`${APACHE_MODULES}/mod_${name}.so`));
      return (
        load.map((name) => `LoadModule ${name}_module ${APACHE_MODULES}/mod_${name}.so\n`).join('') +
        `ServerName localhost\nServerRoot ${folder}\nDefaultRuntimeDir ${folder}\nPidFile ${folder}/apache.pid\nErrorLog ${folder}/error.log\n` +
        `User www-data\nGroup www-data\nMutex pthread\n${text}`
      );
    },
    change: (config) => `${config}\n# changed\n`,
    start: ({ file }) => ['apache2', ['-f', file, '-D', 'FOREGROUND']],
    reload: ({ child }) => process.kill(child.pid, 'SIGUSR1'),
    version: ['-v'],
  },
  lighttpd: {
    command: 'lighttpd',
    file: (text, { folder, port }) =>
      `server.document-root = "${folder}"\nserver.port = ${port}\nserver.bind = "127.0.0.1"\n${text}`,
    change: (config) => `${config}\n# changed\n`,
    start: ({ file }) => ['lighttpd', ['-D', '-f', file]],
    reload: ({ child }) => process.kill(child.pid, 'SIGUSR1'),
    version: ['-v'],
    // A graceful restart ends what is open after some seconds, and takes no new connections until then.
    reloadCuts: true,
  },
  Varnish: {
    command: 'varnishd',
    noTls: true,
    file: (text) => text,
    change: (config) => `${config}\n# changed\n`,
    start: ({ file, folder, port }) => ['varnishd', ['-F', '-j', 'none', '-n', `${folder}/run`, '-f', file, '-a', `127.0.0.1:${port}`, '-s', 'malloc,16m']],
    reload: async ({ file, folder }) => {
      await run('varnishadm', ['-n', `${folder}/run`, 'vcl.load', 'changed', file]);
      await run('varnishadm', ['-n', `${folder}/run`, 'vcl.use', 'changed']);
    },
    version: ['-V'],
  },
  Caddy: {
    command: 'caddy',
    file: (text, { admin }) => `{\n  admin 127.0.0.1:${admin}\n  auto_https off\n  persist_config off\n}\n${text}`,
    change: (config) => config.replace('auto_https off', 'auto_https off\n  grace_period 10s'),
    start: ({ file, program }) => [program, ['run', '--adapter', 'caddyfile', '--config', file]],
    reload: ({ file, program, admin }) =>
      run(program, ['reload', '--adapter', 'caddyfile', '--config', file, '--address', `127.0.0.1:${admin}`]),
    version: ['version'],
  },
};

/** Where a command is, in the folder of what this test installed or on the path. */
export function find(command, installed) {
  return [...installed, ...PATH.split(':')].map((folder) => `${folder}/${command}`).find((path) => existsSync(path));
}

/** The version of a proxy: the first number with dots in what it says. */
export const versionOf = async (name, program) => (await run(program, PROXIES[name].version)).match(/\d+\.\d+[.\d]*/)?.[0];

/** A running proxy in front of these gateways. */
export async function startProxy(name, { folder, certificates, gateways, program }) {
  const proxy = PROXIES[name];
  await mkdir(folder, { recursive: true });
  const [port, tlsPort, admin] = [randomPort(), randomPort(), randomPort()];
  const context = { folder, certificates, gateways, port, tlsPort, admin, program, file: `${folder}/config` };
  const config = proxy.file(substitute(await documented(name), context), context);
  await writeFile(context.file, config);
  const [command, args] = proxy.start(context);
  const child = new Child(name, command, args, { env: { PATH, HOME: folder, XDG_DATA_HOME: folder } });
  // Not only by the kill that ends every child: its workers end with it only this way.
  scope().defer(async () => {
    if (!child.mayEnd().running) return;
    process.kill(child.pid, 'SIGTERM');
    await Promise.race([child.exited, sleep(5_000)]);
  });
  const url = `http://127.0.0.1:${port}`;
  const answers = async () => !child.running || (await request(url)).status === 200;
  await eventually(answers, { what: `${name} passes requests on: ${config}`, timeout: 20_000 });
  if (!child.running) throw new Error(`${name} ended: ${child.lines.map(({ text }) => text).join('\n')}`);
  return {
    child,
    url,
    tlsUrl: proxy.noTls ? undefined : `https://127.0.0.1:${tlsPort}`,
    reload: async () => {
      await writeFile(context.file, proxy.change(config));
      await proxy.reload({ ...context, child });
    },
  };
}
