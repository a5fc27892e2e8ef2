/** `docker compose up`, as the top-level file says it: six hosts of two regions enrol at the hub, are routed to their spokes, and converge. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ensureCompose } from '../../tools/ensure-docker.ts';
import { makeImages } from '../../tools/images.ts';
import { eventually } from '../harness/eventually.ts';
import { freePort } from '../harness/free-port.ts';
import { describeUnless } from '../harness/where.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PROJECT = `vigo-test-${process.pid}-compose`;

const imagesProblem = await makeImages();
const compose = imagesProblem === undefined ? ensureCompose() : { problem: imagesProblem };

describeUnless('problem' in compose ? `compose: ${compose.problem}` : undefined)('docker compose up', () => {
  let port = 0;
  const run = (...args: string[]): string => {
    if ('problem' in compose) throw new Error(compose.problem);
    const [program, ...first] = compose.argv;
    const { status, stdout, stderr } = spawnSync(program!, [...first, '-p', PROJECT, ...args], {
      cwd: root,
      encoding: 'utf8',
      timeout: 120_000,
      env: { ...process.env, VIGO_PORT: String(port) },
    });
    if (status !== 0) throw new Error(`compose ${args.join(' ')} exits ${status}\n${stdout}${stderr}`);
    return stdout;
  };
  const cli = <T>(...args: string[]): T =>
    JSON.parse(run('exec', '-T', 'hub', 'vigocli', '--data-dir', '/srv/vigo', '--json', ...args)) as T;

  beforeAll(async () => {
    port = await freePort();
    run('up', '-d', '--no-build');
  }, 150_000);

  afterAll(() => {
    run('down', '-v', '-t', '1');
  }, 90_000);

  test('six hosts converge, three at each spoke', async () => {
    await eventually(
      () => {
        const { items } = cli<{ items: { hostname: string; spoke: string; state: string }[] }>('envoys', 'list');
        expect(items.map(({ hostname, spoke, state }) => `${hostname} ${spoke} ${state}`).sort()).toEqual(
          ['app1', 'db1', 'web1']
            .flatMap((name) => ['region1', 'region2'].map((region) => `${name}.${region}.example.com ${region} converged`))
            .sort(),
        );
      },
      { timeoutMs: 120_000, everyMs: 1_000 },
    );
  }, 150_000);

  test('what a host says of itself is what the tree says', () => {
    expect(run('exec', '-T', 'web1-region2', 'cat', '/etc/motd')).toBe(
      'web1.region2.example.com belongs to region south; its state is kept by vigo.\n',
    );
  });

  test('servers run as a user of their own, on a file system they cannot write', () => {
    expect(run('exec', '-T', 'region1', 'id', '-un').trim()).toBe('vigo');
    expect(run('exec', '-T', 'region1', 'sh', '-c', 'touch /opt/vigo/x 2>&1 || true')).toMatch(/Read-only|Permission denied/);
    expect(JSON.parse(run('exec', '-T', 'hub', 'cat', '/opt/vigo/sbom.cdx.json'))).toMatchObject({ bomFormat: 'CycloneDX' });
  });
});
