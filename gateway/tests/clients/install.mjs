// Installs the clients of the table, each at its pinned version, into ignored folders beside its sources. What cannot be
// installed is reported and leaves the others alone. Called by run.mjs.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

export const HERE = fileURLToPath(new URL('.', import.meta.url));
const TIMEOUT = 900_000;

function run(command, args, folder, env = {}) {
  return new Promise((resolve, reject) => {
    const options = { cwd: HERE + folder, timeout: TIMEOUT, maxBuffer: 1e8, env: { ...process.env, ...env } };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const said = `${stderr}\n${stdout}`.trim().split('\n').slice(-6).join('\n');
      reject(new Error(error.code === 'ENOENT' ? `${command} is missing` : `${command} ${args[0]}: ${said || error.message}`));
    });
  });
}

const npm = (folder) =>
  // Without scripts: one of Artillery's dependencies downloads a browser.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], folder);

async function python() {
  await rm(`${HERE}python/.venv`, { recursive: true, force: true });
  await run('python3', ['-m', 'venv', '.venv'], 'python');
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', 'requirements.txt'];
  await run('.venv/bin/python', pip, 'python');
}

/** Maven fetches the libraries, javac compiles the program against them. */
const java = (version) => async () => {
  const folder = `.classes/${version}`;
  await rm(`${HERE}java/${folder}`, { recursive: true, force: true });
  await mkdir(`${HERE}java/${folder}`, { recursive: true });
  const maven = ['--batch-mode', '--quiet', `-Dclient.version=${version}`, 'dependency:copy-dependencies', `-DoutputDirectory=${folder}`];
  await run('mvn', maven, 'java');
  await run('javac', ['-cp', `${folder}/*`, '-d', folder, 'Client.java'], 'java');
};

/** By the folder: what installs it, and which files decide whether that is to be done again. */
const PARTS = {
  javascript: [() => npm('javascript'), ['javascript/package-lock.json']],
  artillery: [() => npm('artillery'), ['artillery/package-lock.json']],
  python: [python, ['python/requirements.txt']],
  'java-1.0.2': [java('1.0.2'), ['java/pom.xml', 'java/Client.java']],
  'java-2.1.2': [java('2.1.2'), ['java/pom.xml', 'java/Client.java']],
  go: [() => run('go', ['build', '-buildvcs=false', '-trimpath', '-o', '.bin/client', '.'], 'go'), ['go/go.sum', 'go/main.go']],
  rust: [
    () => run(process.env.CARGO ?? 'cargo', ['build', '--quiet', '--locked', '--target-dir', 'target'], 'rust'),
    ['rust/Cargo.lock', 'rust/src/main.rs'],
  ],
};

/** Installs everything that is not yet; returns why, by the name of each part that failed. */
export async function install() {
  await mkdir(`${HERE}.installed`, { recursive: true });
  const failures = {};
  for (const [name, [step, sources]] of Object.entries(PARTS)) {
    const hash = createHash('sha256');
    for (const source of [...sources, 'install.mjs']) hash.update(await readFile(HERE + source));
    const [stamp, digest] = [`${HERE}.installed/${name}`, hash.digest('hex')];
    if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === digest) continue;
    console.log(`==> installing ${name}`);
    try {
      await step();
      await writeFile(stamp, digest);
    } catch (error) {
      failures[name] = error.message;
      console.error(`${name} could not be installed: ${error.message}`);
    }
  }
  return failures;
}
