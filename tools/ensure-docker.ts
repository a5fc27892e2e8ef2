/**
 * Makes real Debian hosts possible for the integration tests: Docker installed, running, and a base image built. Quick when all is there; where it
 * cannot be had (not Debian, not root, no kernel support) it says why. Run by hand: `node tools/ensure-docker.ts`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const script = join(root, 'deploy', 'images', 'base.sh');
const LOCK = join(tmpdir(), 'vigo-ensure-docker.lock');

/** Name of the base image; another script makes another image. */
export function baseImage(): string {
  return `vigo-debian:${createHash('sha256').update(readFileSync(script)).digest('hex').slice(0, 12)}`;
}

function run(program: string, args: readonly string[], timeout = 600_000): { ok: boolean; text: string } {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    timeout,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return { ok: status === 0, text: `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`.trim() };
}

const has = (program: string) => run('sh', ['-c', `command -v ${program}`]).ok;
const answers = () => has('docker') && run('docker', ['info'], 20_000).ok;
const lastLine = (text: string) => text.split('\n').at(-1) ?? '';

/** A daemon of this name, ours or not: a second one beside it would take its network down. */
function dockerdRuns(): boolean {
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'dockerd';
    } catch {
      return false; // ended while we looked
    }
  });
}

const NEEDED = [
  ['dockerd', 'docker.io'],
  ['debootstrap', 'debootstrap'],
  ['iptables', 'iptables'],
] as const;

function installed(needed: readonly (readonly [string, string])[] = NEEDED): string | undefined {
  const missing = needed.filter(([program]) => !has(program));
  if (missing.length === 0) return undefined;
  if (!has('apt-get')) return `${missing.map(([program]) => program).join(', ')} missing, and this is no Debian`;
  process.stderr.write(`vigo: installing ${missing.map(([, name]) => name).join(', ')} (once) ...\n`);
  run('apt-get', ['update', '-q']);
  const { ok, text } = run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing.map(([, name]) => name)]);
  return ok ? undefined : `apt-get does not install Docker: ${lastLine(text)}`;
}

async function eventuallyAnswers(ms: number): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(200)) if (answers()) return true;
  return false;
}

async function started(): Promise<string | undefined> {
  // installing the package, or somebody else, may have started it
  if (dockerdRuns()) return (await eventuallyAnswers(30_000)) ? undefined : 'a dockerd runs, but does not answer';
  const folder = join(root, '.vigo', 'log');
  mkdirSync(folder, { recursive: true });
  const log = openSync(join(folder, 'dockerd.log'), 'a');
  const daemon = spawn('dockerd', [], { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  daemon.unref();
  if (await eventuallyAnswers(30_000)) return undefined;
  const last = readFileSync(join(folder, 'dockerd.log'), 'utf8').trim();
  return `dockerd does not start: ${lastLine(last)}`;
}

/** One process prepares, the others wait: the lock of one that died is taken over. */
async function locked<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: 'wx' });
      break;
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== 'EEXIST') throw thrown;
      const holder = existsSync(LOCK) ? readFileSync(LOCK, 'utf8') : '';
      if (holder !== '' && !existsSync(`/proc/${holder}`)) rmSync(LOCK, { force: true });
      await sleep(300);
    }
  }
  try {
    return await work();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

const hasImage = () => run('docker', ['image', 'inspect', baseImage()]).ok;

/** Why there are no real hosts here; undefined when there are. */
export async function ensureDocker(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'real hosts need Linux';
  if (answers() && hasImage()) return undefined;
  if (process.getuid?.() !== 0) return 'Docker is not ready, and only root can make it so';
  return locked(async () => {
    if (!answers()) {
      const problem = installed() ?? (await started());
      if (problem !== undefined) return problem;
    }
    if (hasImage()) return undefined;
    const problem = installed();
    if (problem !== undefined) return problem;
    process.stderr.write('vigo: building the Debian image of the test hosts (once, about a minute) ...\n');
    const { ok, text } = run('sh', [script, baseImage()]);
    return ok ? undefined : `the Debian image does not build: ${lastLine(text)}`;
  });
}

/** How compose is called here, once Docker is there: its own plug-in, or Debian's program. */
export function ensureCompose(): { readonly argv: readonly string[] } | { readonly problem: string } {
  if (run('docker', ['compose', 'version']).ok) return { argv: ['docker', 'compose'] };
  const problem = installed([['docker-compose', 'docker-compose']]);
  return problem === undefined ? { argv: ['docker-compose'] } : { problem };
}

if (import.meta.main) {
  const problem = await ensureDocker();
  process.stderr.write(problem === undefined ? `vigo: ${baseImage()} is ready\n` : `vigo: no real hosts: ${problem}\n`);
}
