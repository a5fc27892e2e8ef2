/** `npm run images`: what `docker compose up` needs: Docker itself, the Debian base, the agent's executable, the list of packages, and both images. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildExecutable } from '../deploy/sea/build.ts';
import { baseImage, ensureDocker } from './ensure-docker.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const build = join(root, '.vigo', 'build');
export const BASE = 'vigo-debian:demo';

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0)
    throw new Error(`${program} ${args.slice(0, 3).join(' ')} fails:\n${`${stdout}${stderr}${error?.message ?? ''}`.slice(-3000)}`);
  return stdout;
}

/** CycloneDX, of what runs in production. */
function writeBillOfMaterials(): void {
  const npm = process.env['npm_execpath'];
  const args = ['sbom', '--omit=dev', '--sbom-format=cyclonedx'];
  const text = npm?.endsWith('.js') === true ? run(process.execPath, [npm, ...args]) : run('npm', args);
  writeFileSync(join(build, 'sbom.cdx.json'), text);
}

/** What the Dockerfiles take of this folder, without the packages that only development needs: a third of it. */
function makeContext(): string {
  const context = join(build, 'context');
  rmSync(context, { recursive: true, force: true });
  run(process.execPath, [join(root, 'deploy', 'docker', 'production.ts'), context]);
  cpSync(join(root, 'package-lock.json'), join(context, 'package-lock.json'));
  const node = relative(root, realpathSync(join(root, 'node_modules', '.bin', 'node')));
  cpSync(join(root, node), join(context, node));
  mkdirSync(join(context, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(relative(join('node_modules', '.bin'), node), join(context, 'node_modules', '.bin', 'node'));
  mkdirSync(join(context, '.vigo', 'build'), { recursive: true });
  for (const name of ['vigo', 'sbom.cdx.json']) cpSync(join(build, name), join(context, '.vigo', 'build', name));
  return context;
}

/** @returns why it cannot be done here, undefined when all images are there */
export async function makeImages(say: (text: string) => void = () => undefined): Promise<string | undefined> {
  const problem = await ensureDocker();
  if (problem !== undefined) return problem;
  mkdirSync(build, { recursive: true });
  run('docker', ['tag', baseImage(), BASE]);
  say('building the agent');
  await buildExecutable('bin/vigo.ts', join(build, 'vigo'));
  writeBillOfMaterials();
  const context = makeContext();
  try {
    for (const name of ['server', 'agent']) {
      say(`building the image vigo-${name}`);
      const file = join(context, 'deploy', 'docker', `${name}.Dockerfile`);
      run('docker', ['build', '-q', '-f', file, '--build-arg', `BASE=${BASE}`, '-t', `vigo-${name}`, context]);
    }
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
  return undefined;
}

if (import.meta.main) {
  const problem = await makeImages((text) => process.stderr.write(`vigo: ${text} ...\n`));
  if (problem !== undefined) process.stderr.write(`vigo: no images: ${problem}\n`);
  else process.stderr.write('vigo: the images are ready; now: docker compose up\n');
  process.exitCode = problem === undefined ? 0 : 1;
}
