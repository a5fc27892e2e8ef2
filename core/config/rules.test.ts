/** Idempotency, self-protection, compliance and the shipped trees: config.md §10.2, §10.3, §22 cases 58 to 60, 79, 86; threats to the agent itself. */
import { describe, expect, jest, test } from '@jest/globals';
import { type Files, findings, moduleTree, rules, treeOf } from '../../test/harness/config-tree.ts';
import { guardrailFindings } from '../policy/guardrails.ts';
import { PROTECTED, protect } from '../policy/protected.ts';
import { normalPath } from '../policy/protected-path.ts';
import { compileEntry } from './compile.ts';
import { loadTree } from './load.ts';
import { readTree } from './read-tree.ts';
import { lowerDangerous, validateTree } from './validate.ts';

// hostile inputs are timed by the tests themselves
jest.setTimeout(60_000);

const exec = (line: string, command = '/bin/x') =>
  `- name: e\n  type: exec\n  command: ${JSON.stringify(command)}\n${line.replaceAll(/^(?=.)/gm, '  ')}`;

describe('idempotency', () => {
  const cases: [string, string, readonly string[]][] = [
    ['exec without a guard', exec(''), ['IDEM-1']],
    ['exec with creates', exec('creates: /x\n'), []],
    ['exec with onlyif', exec('only_if: test -e /x\n'), []],
    ['exec that is only triggered', exec('when: changed\n'), []],
    ['a time predicate is no guard', exec("when: \"hour_range('1','3')\"\n"), ['IDEM-1']],
    ['a trait is no guard', exec('when: is_container\n'), ['IDEM-1']],
    ['service restarted', '- { name: s, type: service, service: nginx, state: restarted }\n', ['IDEM-2']],
    ['service reloaded when changed', '- { name: s, type: service, service: nginx, state: reloaded, when: changed }\n', []],
    ['latest', '- { type: package, package: nginx, state: latest }\n', ['IDEM-4']],
    [
      'file with content and file_line on one path',
      '- { name: a, type: file, target_path: /etc/x, content: y }\n- { name: b, type: file_line, target_path: //etc/x, line: z }\n',
      ['IDEM-6'],
    ],
    [
      'the same where conditions exclude each other',
      '- { name: a, type: file, target_path: /etc/x, content: y, when: "os_family(\'debian\')" }\n- { name: b, type: file_line, target_path: /etc/x, line: z, when: "os_family(\'rhel\')" }\n',
      [],
    ],
    [
      'one path twice, different',
      '- { name: a, type: file, target_path: /etc/x, content: y }\n- { name: b, type: file, target_path: /etc/x, content: z }\n',
      ['IDEM-7'],
    ],
    [
      'two lines of one file',
      '- { name: a, type: file_line, target_path: /etc/x, line: y }\n- { name: b, type: file_line, target_path: /etc/x, line: z }\n',
      [],
    ],
    ['a volatile trait', '- { name: a, type: file, target_path: /etc/x, content: "{{ .Traits.uptime.seconds }}" }\n', ['IDEM-8']],
    ['notifying what runs anyway', `- { name: a, type: file, target_path: /etc/x, notify: e }\n${exec('')}`, ['IDEM-1', 'IDEM-9']],
    [
      'notifying a running service',
      '- { name: a, type: file, target_path: /etc/x, notify: s }\n- { name: s, type: service, service: nginx }\n',
      ['IDEM-10'],
    ],
  ];
  test.each(cases)('%s', async (_name, resources, expected) => {
    expect(await rules(moduleTree(resources))).toEqual(expected);
  });

  test('identical twice is a warning, different an error', async () => {
    const twice = (second: string) =>
      moduleTree(
        `- { name: a, type: file, target_path: /etc/x, content: y }\n- { name: b, type: file, target_path: /etc/x, content: ${second} }\n`,
      );
    const severity = async (second: string) => (await findings(twice(second))).find(({ rule }) => rule === 'IDEM-7')?.severity;
    expect([await severity('y'), await severity('z')]).toEqual(['warning', 'error']);
  });

  test('--dangerous lowers what it may and nothing else', async () => {
    const found = await findings(
      moduleTree(
        `${exec('')}- { name: a, type: file, target_path: /etc/x, content: y }\n- { name: b, type: file_line, target_path: /etc/x, line: z }\n- { name: p, type: file, target_path: /etc/vigo/x }\n`,
      ),
    );
    expect(
      lowerDangerous(found)
        .map(({ rule, severity }) => `${rule} ${severity}`)
        .sort(),
    ).toEqual(['GUARD-1 error', 'IDEM-1 warning', 'IDEM-6 error']);
  });
});

describe('self-protection at publish', () => {
  const cases: [string, string, readonly string[]][] = [
    ['a path that climbs', '- { name: a, type: file, target_path: /etc/vigo-envoy/../vigo-envoy/config }\n', ['GUARD-1']],
    ['a parent that goes away', '- { name: a, type: directory, target_path: /etc, state: absent }\n', ['GUARD-1']],
    ['a parent that is kept', '- { name: a, type: directory, target_path: /etc }\n', []],
    [
      'a parent taken over with everything below',
      '- { name: a, type: directory, target_path: /etc, recurse: true, owner: x }\n',
      ['GUARD-1'],
    ],
    ['stopping the agent by command', exec('creates: /x\n', 'systemctl stop vigo-envoy.service'), ['GUARD-4']],
    ['a variable that becomes the path', '- { name: a, type: file, target_path: "/etc/{{ .Vars.d }}/config" }\n', ['GUARD-1']],
    ['a trait that becomes the path is left to the agent', '- { name: a, type: file, target_path: "/etc/{{ .Traits.d }}/config" }\n', []],
    [
      'a branch that is never chosen here',
      '- { name: a, type: file, target_path: /x, case: "{{ .Vars.d }}", match: { never: { target_path: /var/lib/vigo/state } } }\n',
      ['GUARD-1'],
    ],
    [
      'a branch the agent chooses',
      '- { name: a, type: file, target_path: /x, case: "{{ .Traits.x }}", match: { y: { target_path: /srv/vigo/db } } }\n',
      ['GUARD-1'],
    ],
    ['an element of a loop', '- { name: "a {{ .Item }}", type: file, foreach: l, target_path: "{{ .Item }}/config" }\n', ['GUARD-1']],
    ['stopping the service', '- { name: a, type: service, service: vigo-envoy, state: stopped }\n', ['GUARD-2']],
    ['disabling it', '- { name: a, type: service, service: vigo-envoy.service, enabled: false }\n', ['GUARD-2']],
    ['keeping it', '- { name: a, type: service, service: vigo-envoy, state: running, enabled: true }\n', []],
    ['removing the package', '- { type: package, package: vigo, state: absent }\n', ['GUARD-3']],
    ['removing the account', '- { name: a, type: user, username: vigo, state: absent }\n', ['GUARD-6']],
    ['locking the account', '- { name: a, type: user, username: vigo, locked: true }\n', ['GUARD-6']],
    ['removing its group', '- { name: a, type: group, group: vigo, state: absent }\n', ['GUARD-6']],
  ];
  test.each(cases)('%s', async (_name, resources, expected) => {
    const files: Files = moduleTree(resources, { 'all.vgo': 'match: "*"\nmodules: [m]\nvars: { d: vigo-envoy, l: [/tmp, /etc/vigo] }' });
    expect((await rules(files)).filter((rule) => rule.startsWith('GUARD'))).toEqual(expected);
  });

  test('redirecting the server of the agent', async () => {
    const files = moduleTree('- { name: a, type: host, hostname: hub.example.com, ip: 10.0.0.1 }\n');
    expect(await rules(files)).toEqual([]);
    expect(await rules(files, { protectedSet: protect({ servers: ['hub.example.com'] }) })).toEqual(['GUARD-5']);
  });
});

describe('protected paths', () => {
  const inside = [
    '/etc/vigo',
    '//etc///vigo/',
    '/etc/./vigo/../vigo/server.yaml',
    '/proc/self/root/etc/vigo/x',
    '/proc/1/root/proc/2/root/etc/vigo',
    '/ETC/Vigo/x',
    'C:\\ProgramData\\Vigo\\config',
    'c:/programdata/VIGO~1/config',
    'C:\\PROGRA~3\\VIGO~1',
    '\\\\?\\C:\\ProgramData\\Vigo\\config',
    '%ProgramData%\\Vigo\\config',
    'C:\\ProgramData\\Vigo.\\config ',
    '/private/etc/vigo/x',
    '/etc/systemd/system/vigo-envoy.service.d/override.conf',
    '/usr/local/sbin/vigo',
  ];
  test.each(inside)('%s', (path) => {
    expect(guardrailFindings({ type: 'file', attributes: { target_path: path } }).map(({ rule }) => rule)).toContain('GUARD-1');
  });
  test.each(['/etc/vigorous', '/var/lib/vigo/security/scan.json', '/srv/www', '/tmp/etc/vigo', '/etc/vigo2/x', '/'])(
    '%s is free',
    (path) => {
      expect(guardrailFindings({ type: 'file', attributes: { target_path: path } })).toEqual([]);
    },
  );
  test('what the agent finds behind links is judged too', () => {
    expect(
      guardrailFindings({
        type: 'file_line',
        attributes: { target_path: '/opt/link/x', line: 'a' },
        resolvedPaths: ['/etc/vigo-envoy/config'],
      }),
    ).toMatchObject([{ rule: 'GUARD-1' }]);
  });
  test('a hard link to the identity', () => {
    expect(
      guardrailFindings({ type: 'symlink', attributes: { target_path: '/tmp/k', to: '/etc/vigo-envoy/identity.key', link_type: 'hard' } }),
    ).toHaveLength(1);
  });
  test('an installation that keeps its things elsewhere', () => {
    const set = protect({ paths: ['/opt/agent'] });
    expect(guardrailFindings({ type: 'file', attributes: { target_path: '/opt/agent/state' } }, set)).toHaveLength(1);
    expect(guardrailFindings({ type: 'file', attributes: { target_path: '/opt/agent/state' } }, PROTECTED)).toEqual([]);
  });
  test('normal form', () => {
    expect(['/a/../../b', '/', '', 'C:\\', '/a/./b//c/'].map(normalPath)).toEqual(['/b', '/', '/', 'c:', '/a/b/c']);
  });
});

describe('guarded commands', () => {
  const refused = [
    'rm -rf /etc/vigo-envoy',
    "rm -rf '/etc/vi''go-envoy'",
    'rm -rf /etc/vi\\go-envoy',
    'cd /etc && rm -rf /etc/vigo*',
    'cd /etc/vigo-envoy && rm config',
    'rm -rf /etc',
    'rm -rf /var/lib/*',
    'echo x >/etc/vigo-envoy/config',
    'echo x >> /etc/vigo-envoy/config',
    'true;tee /etc/vigo-envoy/config',
    'sh -c "chmod 777 /etc/vigo-envoy/identity.key"',
    'sudo chmod -R 777 /var/lib/vigo',
    'dd if=/dev/zero of=/var/lib/vigo/state/data.mdb',
    'sed -i s/a/b/ /etc/vigo-envoy/config',
    'find /var/lib/vigo -delete',
    'find / -name x -delete',
    'ln -sf /dev/null /etc/systemd/system/vigo-envoy.service',
    "python3 -c \"open('/etc/vigo-envoy/config','w')\"",
    'systemctl disable --now vigo-envoy',
    'systemctl mask vigo-envoy.service',
    'service vigo-envoy stop',
    'launchctl bootout system/com.vigo.envoy',
    'pkill -f vigo',
    'killall vigo',
    'kill -9 $(pidof vigo)',
    'pgrep vigo | xargs kill',
    'apt-get -y purge vigo',
    'dpkg -r vigo-envoy',
    'userdel vigo',
    'sc.exe delete vigo-envoy',
    'Stop-Service vigo-envoy',
    'Remove-Item -Recurse C:\\ProgramData\\Vigo',
  ];
  test.each(refused)('%s', (command) => {
    expect(guardrailFindings({ type: 'exec', attributes: { command } }).map(({ rule }) => rule)).toEqual(['GUARD-4']);
  });
  const allowed = [
    'cat /etc/vigo-envoy/config',
    'rm -rf /tmp/build',
    'systemctl restart nginx',
    'systemctl status vigo-envoy',
    'systemctl stop nginx',
    'kill -HUP $(cat /run/nginx.pid)',
    'apt-get install -y vigorous',
    'tar xf /tmp/a.tar -C /opt/app',
    'cp /etc/hosts /tmp/hosts',
    'echo "vigo is here" > /etc/motd',
    'chown -R www-data /srv/www',
    'vigo status',
  ];
  test.each(allowed)('%s is free', (command) => {
    expect(guardrailFindings({ type: 'exec', attributes: { command } })).toEqual([]);
  });
  test('cwd counts as a cd', () => {
    expect(guardrailFindings({ type: 'exec', attributes: { command: 'rm config', cwd: '/etc/vigo-envoy' } })).toMatchObject([
      { rule: 'GUARD-4' },
    ]);
  });
  test('a long hostile text is judged in linear time', () => {
    const started = performance.now();
    for (const text of ['{{'.repeat(32_000), '"\\'.repeat(30_000), '/a*'.repeat(20_000), '> '.repeat(30_000), '$('.repeat(30_000)])
      guardrailFindings({ type: 'exec', attributes: { command: text } });
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

describe('compliance and waivers', () => {
  const claims = (text: string): Files => ({
    'modules/m.vgo': `name: m\nresources: []\ncompliance: ${text}`,
    'e.vgo': 'match: h\nmodules: [m]',
  });
  test('frameworks and controls', async () => {
    expect(await rules(claims('{ pci: ["8.10"], cis-ubuntu: ["1.1"], stig: ["x"] }'))).toEqual([]);
    expect(await rules(claims('{ sox: ["1"] }'))).toEqual(['COMP-1']);
    expect(await rules(claims('{ pci-dss: [8.10] }'))).toEqual(['SCHEMA-3']);
    const { config } = loadTree(treeOf(claims('{ pci: ["8.10"] }')));
    expect(compileEntry(config, config.entries[0]!).body.modules[0]!.compliance).toEqual({ 'pci-dss': ['8.10'] });
  });
  test('waivers', async () => {
    const waiver = (text: string): Files => ({ 'waivers.vgo': `waivers: [{ ${text} }]`, 'e.vgo': 'match: h' });
    const good = 'framework: pci-dss, control: "2.3", reason: r, approved_by: a';
    expect(await rules(waiver(good))).toEqual([]);
    expect(await rules(waiver(good.replace(', reason: r', '')))).toEqual(['WAIV-1']);
    expect(await rules(waiver(`${good}, expires: "2026-01-01"`), { today: '2026-01-01' })).toEqual(['WAIV-2']);
    expect(await rules(waiver(`${good}, expires: "2026-01-02"`), { today: '2026-01-01' })).toEqual([]);
  });
});

describe('trees that come with the product', () => {
  test.each(['config-example', 'config-demo'])('%s has neither errors nor warnings', async (name) => {
    const { tree, problems } = await readTree(new URL(`../../deploy/${name}`, import.meta.url).pathname);
    const validated = await validateTree(tree, { secretExists: async () => true, today: '2026-03-01' });
    expect([...problems, ...validated.problems].filter(({ severity }) => severity !== 'info')).toEqual([]);
    expect(validated.compiled.every(({ body }) => body.resource_count > 3)).toBe(true);
  });
});
