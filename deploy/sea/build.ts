/**
 * Makes the agent one executable: esbuild to a single ESM file, Node's own runtime stripped, native add-ons as assets. The output is cached by a
 * hash of what goes in. `node deploy/sea/build.ts [entry] [output]`
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { bringOwnAtomics } from './own-atomics.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const require_ = (path: string) => join(root, 'node_modules', path);
const target = `${process.platform}-${process.arch}`;

/** Asset name → file: the add-ons of this platform. */
const ADDONS = {
  'sodium-native.node': require_(`sodium-native/prebuilds/${target}/sodium-native.node`),
  'lmdb.node': require_(`@lmdb/lmdb-${target}/node.napi.glibc.node`),
};

/** ESM has no require of its own; CommonJS packages inside the bundle want one. */
const BANNER = `import { createRequire as vigoCreateRequire } from 'node:module';
const require = vigoCreateRequire(process.execPath);
const __filename = process.execPath;
const __dirname = require('node:path').dirname(process.execPath);`;

/**
 * Add-ons can only be opened from a file: each is written once, under the hash of its bytes, mode 0500, into a folder that is ours alone. Folders
 * that belong to somebody else or may not hold programs (noexec) are passed over.
 */
const LOADER = `
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sea from 'node:sea';

const uid = process.getuid?.() ?? 0;
const bases = uid === 0 ? ['/var/cache', '/var/db', '/var/tmp', tmpdir(), '/run'] : [tmpdir(), '/var/tmp'];

function written(base, name, bytes, hash) {
  const dir = join(base, 'vigo-addons-' + uid);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const stat = lstatSync(dir);
  if (!stat.isDirectory() || stat.uid !== uid || (stat.mode & 0o077) !== 0) throw new Error(dir + ' is not ours alone');
  const file = join(dir, hash.slice(0, 32) + '-' + name);
  if (!existsSync(file) || createHash('sha256').update(readFileSync(file)).digest('hex') !== hash) {
    const temp = file + '.' + process.pid;
    writeFileSync(temp, bytes, { mode: 0o500, flag: 'wx' });
    renameSync(temp, file);
  }
  return file;
}

export function openAddon(name) {
  const bytes = Buffer.from(sea.getRawAsset(name));
  const hash = createHash('sha256').update(bytes).digest('hex');
  const reasons = [];
  for (const base of bases) {
    try {
      const module = { exports: {} };
      process.dlopen(module, written(base, name, bytes, hash));
      return module.exports;
    } catch (error) {
      reasons.push(error.message);
    }
  }
  throw new Error('no folder for the add-on ' + name + ': ' + reasons.join('; '));
}
`;

/** Answers the packages that look for add-ons on the disk. */
const addons: Plugin = {
  name: 'addons',
  setup(of) {
    of.onResolve({ filter: /^(require-addon|node-gyp-build-optional-packages|msgpackr-extract|vigo-addon-loader)$/ }, ({ path }) => ({
      path,
      namespace: 'vigo',
    }));
    const contents: Record<string, string> = {
      'vigo-addon-loader': LOADER,
      'require-addon': `module.exports = () => require('vigo-addon-loader').openAddon('sodium-native.node');`,
      'node-gyp-build-optional-packages': `import { openAddon } from 'vigo-addon-loader'; export default () => openAddon('lmdb.node');`,
      // optional: without it msgpackr decodes in JavaScript
      'msgpackr-extract': `throw new Error('not part of this executable');`,
    };
    of.onLoad({ filter: /.*/, namespace: 'vigo' }, ({ path }) => ({ contents: contents[path] ?? '', resolveDir: root, loader: 'js' }));
  },
};

/** Text files that a module reads beside itself become text inside it. */
const texts: Plugin = {
  name: 'texts',
  setup(of) {
    of.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      const pattern = /readFileSync\(new URL\('([^']+)', import\.meta\.url\), 'utf8'\)/g;
      if (!pattern.test(source)) return null;
      const contents = source.replace(pattern, (_, name: string) => JSON.stringify(readFileSync(join(dirname(path), name), 'utf8')));
      return { contents, loader: 'ts' };
    });
  },
};

function must(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}${error?.message ?? ''}`);
}

function hashOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** The runtime without symbols; must happen before the blob goes in, a finished executable does not survive it. */
function strippedNode(cache: string): string {
  const stripped = join(cache, `node-${process.version}-${target}`);
  if (existsSync(stripped)) return stripped;
  const temp = `${stripped}.${process.pid}`;
  copyFileSync(process.execPath, temp);
  // binutils makes the file a fifth smaller; without it the executable works as well
  spawnSync('strip', [temp]);
  renameSync(temp, stripped);
  return stripped;
}

/** Builds when something changed; answers the path of the executable. */
export async function buildExecutable(entry: string, output: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, entry)],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node26',
    format: 'esm',
    banner: { js: BANNER },
    plugins: [addons, texts],
    legalComments: 'none',
    logLevel: 'error',
    keepNames: true,
  });
  const code = outputFiles[0]!.contents;
  const text = Buffer.from(code).toString('utf8');
  const assets = Object.fromEntries(Object.entries(ADDONS).filter(([name]) => text.includes(`openAddon("${name}")`)));
  const inputs = Object.values(assets).map((file) => readFileSync(file));
  const recipe = ['build.ts', 'own-atomics.ts'].map((name) => readFileSync(join(root, 'deploy', 'sea', name)));
  const stamp = hashOf(process.version, target, code, ...inputs, ...recipe);
  const stampFile = `${output}.stamp`;
  if (existsSync(output) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return output;
  const cache = join(root, '.vigo', 'build');
  mkdirSync(cache, { recursive: true });
  mkdirSync(dirname(output), { recursive: true });
  const work = mkdtempSync(join(cache, 'sea-'));
  try {
    writeFileSync(join(work, 'main.mjs'), code);
    const config = {
      main: join(work, 'main.mjs'),
      mainFormat: 'module',
      output: join(work, 'out'),
      executable: strippedNode(cache),
      disableExperimentalSEAWarning: true,
      useCodeCache: false,
      // an agent idles nearly always: a small young generation and little speculation cost it nothing that counts
      execArgv: [
        '--disable-warning=ExperimentalWarning',
        '--max-semi-space-size=1',
        '--optimize-for-size',
        '--single-threaded-gc',
        '--v8-pool-size=1',
      ],
      execArgvExtension: 'none',
      assets,
    };
    writeFileSync(join(work, 'sea.json'), JSON.stringify(config));
    must(process.execPath, ['--build-sea', join(work, 'sea.json')]);
    // last: what rewrites the executable must not see the changed tables
    const executable = readFileSync(join(work, 'out'));
    if (bringOwnAtomics(executable)) writeFileSync(join(work, 'out'), executable);
    renameSync(join(work, 'out'), output);
    writeFileSync(stampFile, stamp);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return output;
}

if (import.meta.main) {
  const [entry = 'bin/vigo.ts', output = join(root, '.vigo', 'build', 'vigo')] = process.argv.slice(2);
  const begin = performance.now();
  const path = await buildExecutable(entry, output);
  process.stdout.write(`${relative(process.cwd(), path)} is ready after ${Math.round(performance.now() - begin)} ms\n`);
}
