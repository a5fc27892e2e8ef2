/** Installs the locked packages when package-lock.json differs from what is installed. Plain JavaScript: it runs on any Node from 20 on. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stampFile = `${root}node_modules/.vigo-installed`;
const wanted = createHash('sha256')
  .update(readFileSync(`${root}package-lock.json`))
  .digest('hex');
const installed = existsSync(stampFile) ? readFileSync(stampFile, 'utf8') : '';

if (installed !== wanted) {
  const npm = process.env.npm_execpath;
  if (!npm) {
    process.stderr.write('vigo: start this through npm (npm start, npm test), it installs the packages first\n');
    process.exit(2);
  }
  process.stderr.write('vigo: installing the locked packages (once, about 20 seconds) ...\n');
  const result = spawnSync(process.execPath, [npm, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (result.status !== 0) {
    process.stderr.write(`vigo: npm ci failed with exit code ${result.status}; its messages stand above\n`);
    process.exit(result.status ?? 1);
  }
  writeFileSync(stampFile, wanted);
}

const node = spawnSync(`${root}node_modules/.bin/node`, ['--version'], { encoding: 'utf8' });
if (node.status !== 0) {
  process.stderr.write(
    `vigo: the project's Node does not start on this machine: ${(node.stderr || node.error?.message || 'no reason given').trim().split('\n')[0]}\n`,
  );
  if (/libatomic/.test(node.stderr ?? '')) process.stderr.write('vigo: on Debian and Ubuntu: apt-get install libatomic1\n');
  process.exit(1);
}
