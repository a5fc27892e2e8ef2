/**
 * Real Debian hosts with systemd, a real server, the agent as the one executable that is shipped: what a tree says becomes true, stays true, and
 * stays true without the server.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { buildExecutable } from '../../deploy/sea/build.ts';
import { ensureDocker } from '../../tools/ensure-docker.ts';
import { type Host, type Hosts, openHosts } from '../harness/container-launcher.ts';
import { eventually } from '../harness/eventually.ts';
import { makeSite, type Site } from '../harness/site.ts';
import { describeUnless } from '../harness/where.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const INTERVAL_MS = 5_000;
/** one interval with its jitter, and the time of the run itself */
const ONE_INTERVAL = { timeoutMs: INTERVAL_MS * 1.1 + 6_000, everyMs: 100 };
const PASSWORD = 'canary-Zk4v-correct-horse';

interface RunItem {
  readonly id: string;
  readonly hostname: string;
  readonly started_at: string;
  readonly received_at: string;
  readonly flags: readonly string[];
  readonly ok: number;
  readonly changed: number;
  readonly failed: number;
  readonly blocked: number;
  readonly skipped: number;
}

const problem = await ensureDocker();

describeUnless(problem === undefined ? undefined : `real hosts: ${problem}`)('real hosts', () => {
  let hosts: Hosts;
  let site: Site;
  let web1: Host;
  let web2: Host;
  let privateKey = '';

  const runsOf = async (host: Host): Promise<readonly RunItem[]> => {
    const { items } = await site.cliJson<{ items: RunItem[] }>(['runs', 'list', '--envoy', host.name, '--limit', '1000']);
    return items;
  };

  /** An enrolled host with the agent as its service. */
  async function enrolledHost(name: string, executable: string): Promise<Host> {
    const host = await hosts.start(name, { extraHosts: { 'vigo.test': hosts.gateway } });
    await host.copyFile(executable, '/usr/local/sbin/vigo', 0o755);
    const { items } = await site.cliJson<{ items: { token: string }[] }>(['tokens', 'create', '--pattern', name]);
    await host.write('/root/token', items[0]!.token, 0o600);
    await host.sh(`vigo bootstrap --server https://vigo.test:${site.apiPort} --token-file /root/token --install-service`);
    return host;
  }

  beforeAll(async () => {
    const executable = await buildExecutable('bin/vigo.ts', join(root, '.vigo', 'build', 'vigo'));
    hosts = await openHosts();
    site = await makeSite({
      hostname: 'vigo.test',
      listen: '0.0.0.0',
      settings: { checkin: { interval: `${INTERVAL_MS / 1000}s`, herd_window: '1s' }, server: { tls: { sans: [hosts.gateway] } } },
      tree: join(root, 'test', 'fixtures', 'real-hosts'),
    });
    await site.start();
    const keyFile = join(site.dataDir, '..', 'olivia');
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'olivia@laptop', '-f', keyFile]);
    privateKey = readFileSync(keyFile, 'utf8');
    await site.cli(['secrets', 'set', 'people/olivia/ssh-key'], readFileSync(`${keyFile}.pub`, 'utf8'));
    await site.cli(['secrets', 'set', 'people/olivia/password'], PASSWORD);
    await site.cli(['config', 'publish', '--message', 'first', '--yes']);
    [web1, web2] = await Promise.all([enrolledHost('web1.hosts.test', executable), enrolledHost('web2.hosts.test', executable)]);
  }, 240_000);

  afterAll(async () => {
    await hosts?.stop();
    await site?.remove();
  }, 60_000);

  test('become what the tree says', async () => {
    for (const host of [web1, web2]) {
      await eventually(async () => expect(await runsOf(host)).not.toHaveLength(0), { timeoutMs: 60_000, everyMs: 500 });
      const first = (await runsOf(host)).at(-1)!;
      expect(first).toMatchObject({ failed: 0, blocked: 0, flags: [] });
      expect(first.changed).toBeGreaterThanOrEqual(4);
    }
  }, 90_000);

  test('the operator logs in with the key, becomes root without a password, and has the password of the secret', async () => {
    await web2.write('/root/key', privateKey, 0o600);
    const ssh = 'ssh -i /root/key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR';
    expect(await web2.sh(`${ssh} olivia@${await web1.address()} 'whoami; sudo -n whoami; echo $SHELL'`)).toBe('olivia\nroot\n/bin/bash');
    const hash = (await web1.sh('getent shadow olivia')).split(':')[1]!;
    expect(await web1.sh(`perl -e 'print crypt($ARGV[0], $ARGV[1])' '${PASSWORD}' '${hash}'`)).toBe(hash);
    expect(await web1.sh(`perl -e 'print crypt($ARGV[0], $ARGV[1])' 'another' '${hash}'`)).not.toBe(hash);
  }, 30_000);

  test('the web server answers what the template says, runs and is enabled', async () => {
    const answer = await fetch(`http://${await web1.address()}/`);
    expect([answer.status, await answer.text()]).toEqual([200, 'hello from vigo on web1.hosts.test\n']);
    expect(await web1.sh('systemctl is-active nginx; systemctl is-enabled nginx')).toBe('active\nenabled');
    const shown = await site.cli(['runs', 'show', (await runsOf(web1)).at(-1)!.id]);
    expect(shown).toMatch(/Restart nginx +service +skipped +trigger_only/);
    expect(shown).toMatch(/Restart nginx +service +updated/);
  }, 30_000);

  test('the branch of the own family is taken, the other skipped', async () => {
    expect(await web1.sh('cat /etc/vigo-branch; stat -c "%a %U" /etc/vigo-branch')).toBe('debian on debian\n640 root');
    expect((await web1.exec(['test', '-e', '/etc/vigo-branch-rhel'])).code).toBe(1);
    expect(await site.cli(['runs', 'show', (await runsOf(web1)).at(-1)!.id])).toMatch(/Red Hat branch +file +skipped +when_false/);
  }, 30_000);

  test('no secret lies in clear on the host, at the server, or in its log', async () => {
    expect((await web1.exec(['grep', '-raqF', PASSWORD, '/var/lib/vigo', '/etc', '/var/log', '/run'])).code).toBe(1);
    expect(await web1.sh(`journalctl --no-pager | grep -cF '${PASSWORD}' || true`)).toBe('0');
    const { status } = spawnSync('grep', ['-raqF', PASSWORD, site.dataDir]);
    expect(status).toBe(1);
    expect(site.log()).not.toContain(PASSWORD);
  }, 30_000);

  test('the second run changes nothing', async () => {
    await eventually(async () => expect((await runsOf(web1)).length).toBeGreaterThan(1), ONE_INTERVAL);
    const second = (await runsOf(web1)).at(-2)!;
    expect(second).toMatchObject({ changed: 0, failed: 0, blocked: 0, flags: [] });
    const before = await web1.sh('stat -c "%y %i" /etc/nginx/sites-available/default /etc/shadow; systemctl show -p MainPID nginx');
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS * 1.2));
    expect(await web1.sh('stat -c "%y %i" /etc/nginx/sites-available/default /etc/shadow; systemctl show -p MainPID nginx')).toBe(before);
    const { state, drift } = await site.cliJson<{ state: string; drift: string }>(['envoys', 'show', 'web1.hosts.test']);
    expect({ state, drift }).toEqual({ state: 'converged', drift: 'none' });
  }, 60_000);

  const SITE = '/etc/nginx/sites-available/default';
  const drifts: readonly [what: string, harm: string, healed: string, shown: RegExp][] = [
    [
      'a removed package',
      'apt-get remove -y -qq nginx',
      'dpkg -s nginx | grep -q "ok installed" && systemctl is-active -q nginx',
      /Web server +package +(created|updated)/,
    ],
    ['an edited file', `echo "# by hand" >> ${SITE}`, `! grep -q "by hand" ${SITE}`, /Site +file +updated .*content/],
    ['a changed mode', `chmod 600 ${SITE}`, `test "$(stat -c %a ${SITE})" = 644`, /Site +file +updated .*mode/],
    ['a stopped service', 'systemctl stop nginx', 'systemctl is-active -q nginx', /Web server runs +service +updated .*stopped/],
    ['a changed shell', 'usermod -s /bin/sh olivia', 'getent passwd olivia | grep -q ":/bin/bash$"', /Operator account +user +updated/],
  ];

  test.each(drifts)(
    '%s is repaired within one interval, and the run says what and why',
    async (_, harm, healed, shown) => {
      const known = new Set((await runsOf(web1)).map(({ id }) => id));
      await web1.sh(harm);
      await eventually(() => web1.sh(healed), ONE_INTERVAL);
      const run = await eventually(async () => {
        const found = (await runsOf(web1)).find(({ id, changed }) => !known.has(id) && changed > 0);
        expect(found).toBeDefined();
        return found!;
      }, ONE_INTERVAL);
      expect(await site.cli(['runs', 'show', run.id])).toMatch(shown);
    },
    60_000,
  );

  test('without the server, hosts go on repairing for three intervals and after a reboot; on its return every result arrives once, with its time', async () => {
    await site.stop();
    const stoppedAt = Date.now();
    // nothing that restarts nginx: the test's own stop must not cross the agent's restart
    for (let round = 1; round <= 3; round += 1) {
      await web2.sh(`echo "# round ${round}" >> /etc/vigo-branch; systemctl stop nginx`);
      await eventually(() => web2.sh('! grep -q "# round" /etc/vigo-branch && systemctl is-active -q nginx'), ONE_INTERVAL);
    }
    await web2.reboot();
    const rebootedAt = Date.now();
    await web2.sh('echo "# after the reboot" >> /etc/vigo-branch; usermod -s /bin/sh olivia');
    await eventually(() => web2.sh('! grep -q "# after" /etc/vigo-branch && getent passwd olivia | grep -q ":/bin/bash$"'), ONE_INTERVAL);
    const repairedAt = Date.now();
    await site.start();
    const startedAt = Date.now();
    const during = await eventually(
      async () => {
        const runs = (await runsOf(web2)).filter(
          ({ started_at }) => Date.parse(started_at) > stoppedAt && Date.parse(started_at) < repairedAt,
        );
        expect(runs.filter(({ changed }) => changed > 0).length).toBeGreaterThanOrEqual(4);
        return runs;
      },
      { timeoutMs: 30_000, everyMs: 300 },
    );
    expect(during.some(({ started_at, changed }) => changed > 0 && Date.parse(started_at) > rebootedAt)).toBe(true);
    for (const run of during) {
      expect(run.flags).not.toContain('incomplete');
      if (run.failed + run.blocked > 0) throw new Error(await site.cli(['runs', 'show', run.id]));
      expect(Date.parse(run.received_at)).toBeGreaterThanOrEqual(startedAt - 2_000);
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS * 1.5));
    const later = await runsOf(web2);
    expect(new Set(later.map(({ id }) => id)).size).toBe(later.length);
    const again = later.filter(({ started_at }) => Date.parse(started_at) > stoppedAt && Date.parse(started_at) < repairedAt);
    expect(again.map(({ id }) => id).sort()).toEqual(during.map(({ id }) => id).sort());
  }, 120_000);
});
