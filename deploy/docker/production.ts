/** Copies what a server runs on, and nothing else: its sources, the packages that the lock file does not call `dev`, and the list of them. Usage: production.ts <target> */
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = [
  'bin',
  'cli',
  'core',
  'deploy/config-regions',
  'deploy/docker',
  'hub',
  'proto',
  'replication',
  'server',
  'spoke',
  'package.json',
];

interface LockedPackage {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

const target = process.argv[2];
if (target === undefined) throw new Error('where to? production.ts <target>');
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Readonly<Record<string, LockedPackage>> };
const packages = Object.entries(lock.packages)
  .filter(([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true)
  .map(([path]) => path)
  // those of other platforms are in the lock file, but not here
  .filter((path) => existsSync(join(root, path)));
for (const path of [...SOURCES, ...packages]) {
  mkdirSync(dirname(join(target, path)), { recursive: true });
  cpSync(join(root, path), join(target, path), {
    recursive: true,
    filter: (source) => !source.endsWith('.test.ts') && !source.endsWith('.contract.ts'),
  });
}
process.stdout.write(`${packages.length} packages\n`);
