/** A secret that is used everywhere a secret may be used must be found nowhere else: not in logs, databases, bundles, agent state, reports, processes or messages. */
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { openStateStore } from '../../../agent/state/lmdb-state-store.ts';
import { eventually } from '../../harness/eventually.ts';
import { makeSite, type Site } from '../../harness/site.ts';
import { runsOf, type SiteAgent, siteAgent, tokenFor } from '../../harness/site-agent.ts';

jest.setTimeout(120_000);
// characters that JSON, URLs and shells write in other ways
const CANARY = 'cAnArY"7/+%&é\\kräh-9f3e1b2d';
const folder = mkdtempSync(join(tmpdir(), 'vigo-canary-'));
const tree = join(folder, 'tree');
const tap = join(folder, 'tap');
const managed = join(folder, 'managed');
const fed = join(folder, 'fed');
const seen: Buffer[] = [];
let site: Site;
let agent: SiteAgent;

/** All ways in which somebody might have written the value. */
function forms(text: string): readonly (readonly [string, Buffer])[] {
  const raw = Buffer.from(text);
  const base64 = [0, 1, 2].flatMap((shift) => {
    const padded = Buffer.concat([Buffer.alloc(shift), raw]).toString('base64');
    // without the ends, which depend on the neighbours
    const inner = padded.slice(shift === 0 ? 0 : 4, -4);
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
  });
  const json = JSON.stringify(text).slice(1, -1);
  const ascii = json.replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return [
    ['raw', raw],
    ['latin1', Buffer.from(text, 'latin1')],
    ['UTF-16', Buffer.from(text, 'utf16le')],
    ['reversed', Buffer.from([...text].reverse().join(''))],
    ...base64.map((one): [string, Buffer] => ['base64', Buffer.from(one)]),
    ['hex', Buffer.from(raw.toString('hex'))],
    ['HEX', Buffer.from(raw.toString('hex').toUpperCase())],
    ['URL', Buffer.from(encodeURIComponent(text))],
    ['form', Buffer.from(new URLSearchParams({ a: text }).toString().slice(2))],
    ['JSON', Buffer.from(json)],
    ['JSON twice', Buffer.from(JSON.stringify(json).slice(1, -1))],
    ['JSON ascii', Buffer.from(ascii)],
    // the distinctive part alone
    ['part', Buffer.from('9f3e1b2d')],
  ];
}

function unpacked(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (
    let at = bytes.indexOf(Buffer.from([0x1f, 0x8b]));
    at >= 0 && found.length < 200;
    at = bytes.indexOf(Buffer.from([0x1f, 0x8b]), at + 1)
  ) {
    try {
      found.push(gunzipSync(bytes.subarray(at), { finishFlush: 2 }));
    } catch {
      // two bytes that only look like the beginning of a gzip stream
    }
  }
  try {
    found.push(inflateSync(bytes));
  } catch {
    // not deflated as a whole
  }
  return found;
}

const FORMS = forms(CANARY);
function hitsIn(where: string, bytes: Buffer): string[] {
  const here = [bytes, ...unpacked(bytes)].flatMap((one) =>
    FORMS.filter(([, form]) => one.includes(form)).map(([name]) => `${where}: ${name}`),
  );
  return [...new Set(here)];
}

function files(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Command lines and environments of all processes of this machine that can be read. */
function lookAtProcesses(): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const name of ['cmdline', 'environ']) {
      try {
        seen.push(readFileSync(`/proc/${pid}/${name}`));
      } catch {
        // ended meanwhile, or not ours to read
      }
    }
  }
}

beforeAll(async () => {
  mkdirSync(join(tree, 'modules'), { recursive: true });
  writeFileSync(join(tree, 'web1.vgo'), `match: web1\nmodules: [app, accounts]\nvars: { password: "secret:app/canary" }\n`);
  writeFileSync(
    join(tree, 'modules', 'app.vgo'),
    `name: app
resources:
  - { name: conf, type: file, target_path: ${managed}, mode: "0600", content: "password={{ .Vars.password }}\\nagain secret:app/canary end\\n" }
  - { name: fed, type: exec, command: "cat > ${fed}; cat ${fed}; cat ${fed} >&2; sleep 1.5", stdin: "secret:app/canary", creates: ${fed} }
  - { name: failing, type: exec, command: "cat; echo broken >&2; exit 3", stdin: "secret:app/canary", onlyif: "true" }
  - { name: blabber, type: exec, command: "cat ${managed}", onlyif: "true" }
  - { name: kept, type: exec, command: "cat {{secret_file}} | wc -c", secret_file: "secret:app/canary", onlyif: "true" }
`,
  );
  writeFileSync(
    join(tree, 'modules', 'accounts.vgo'),
    `name: accounts\nresources:\n  - { name: user, type: user, username: vigocanary, password: "secret:app/canary" }\n`,
  );
  const flags = ['--log-level', 'trace'];
  site = await makeSite({
    hostname: 'localhost',
    tree,
    flags,
    settings: { checkin: { interval: '5s' }, enrollment: { token_bcrypt_cost: 10 }, database: { flush_interval: '1s' } },
  });
  await site.start();
  await site.cli(['secrets', 'set', 'app/canary'], CANARY);
  const token = await tokenFor(site, 'web1');
  agent = siteAgent(site, 'web1', token, {
    folder,
    flags: [...flags, '--result-cache-cycles', '0'],
    env: { NODE_OPTIONS: `--import=${new URL('../../harness/rpc-tap.ts', import.meta.url).href}`, VIGO_TEST_TAP: tap },
  });
}, 60_000);
afterAll(async () => {
  await agent?.kill();
  await site?.remove();
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

test('the search finds every form when it is there', () => {
  for (const [name, form] of FORMS) {
    expect([name, hitsIn('here', Buffer.concat([Buffer.from('xx'), form, Buffer.from('yy')]))]).not.toEqual([name, []]);
    expect([name, hitsIn('here', Buffer.concat([Buffer.from('xx'), gzipSync(form)]))]).not.toEqual([name, []]);
  }
  for (let shift = 0; shift < 3; shift++) {
    const wrapped = Buffer.concat([Buffer.alloc(shift, 'a'), Buffer.from(CANARY), Buffer.from('bcd')]).toString('base64');
    expect(hitsIn('here', Buffer.from(wrapped))).toContain('here: base64');
  }
  expect(hitsIn('here', Buffer.from('nothing of the kind'))).toEqual([]);
});

test('a secret in a file, a var, a user, on stdin and in a secret file is nowhere else', async () => {
  const said = [await site.cli(['config', 'publish', '--yes', '--dangerous']), await site.cli(['config', 'trace', 'web1'])];
  await agent.register();
  // the account is only looked at: this machine shall not get it
  const dry = await agent.vigo('run', '--dry-run', '--json');
  const running = agent.vigo('run', '--module', 'app', '--json');
  const looking = setInterval(lookAtProcesses, 20);
  const real = await running;
  clearInterval(looking);
  expect(readFileSync(managed, 'utf8')).toBe(`password=${CANARY}\nagain ${CANARY} end\n`);
  expect(readFileSync(fed, 'utf8')).toBe(CANARY);
  // a change is shown without what changed
  writeFileSync(managed, 'drifted\n', { mode: 0o600 });
  const again = await agent.vigo('run', '--module', 'app');
  expect(again.stderr).toContain('updated file[conf]');
  await agent.vigo('run', '--module', 'app');
  await eventually(async () => expect((await runsOf(site, 'web1')).length).toBeGreaterThanOrEqual(4), { timeoutMs: 10_000 });
  for (const { id } of await runsOf(site, 'web1'))
    said.push(await site.cli(['runs', 'show', id]), await site.cli(['runs', 'show', id, '--json']));
  said.push(
    await site.cli(['secrets', 'list']),
    await site.cli(['secrets', 'refs']),
    await site.cli(['audit', 'log', '--json', '--limit', '500']),
  );
  said.push(
    (await agent.vigo('status')).stdout,
    (await agent.vigo('status', '--json')).stdout,
    (await agent.vigo('snapshots', 'list')).stdout,
  );
  // the run told what it did: what was looked through is not empty
  const reports = said.join('\n');
  expect(reports).toContain('blabber');
  expect(reports).toContain('output withheld');
  expect(JSON.parse(real.stdout)).toMatchObject({ mode: 'enforce' });
  expect(dry.stdout).toContain('"module": "accounts"');
  expect(site.log().length).toBeGreaterThan(1000);
  expect(readFileSync(tap).includes('/vigo')).toBe(true);
  expect(statSync(tap).size).toBeGreaterThan(5_000);
  expect(seen.some((bytes) => bytes.includes(agent.stateDir))).toBe(true);
  const state = openStateStore(join(agent.stateDir, 'state'));
  expect(state.secrets.kept()?.refs).toEqual(['app/canary']);
  await state.close();

  const hits = [
    ...[dry, real, again].flatMap(({ stdout, stderr }, index) => hitsIn(`vigo run ${index}`, Buffer.from(stdout + stderr))),
    ...said.flatMap((text, index) => hitsIn(`answer ${index}`, Buffer.from(text))),
    ...hitsIn('log of the server', Buffer.from(site.log())),
    ...hitsIn('processes', Buffer.concat(seen)),
    ...hitsIn('messages', readFileSync(tap)),
    ...[...files(site.dataDir), ...files(folder), ...files(agent.stateDir)]
      .filter((file) => file !== managed && file !== fed)
      .flatMap((file) => hitsIn(file, readFileSync(file))),
  ];
  expect([...new Set(hits)]).toEqual([]);
  // and in the same places it would have been found
  appendFileSync(tap, gzipSync(JSON.stringify({ value: CANARY })));
  expect(hitsIn('messages', readFileSync(tap))).not.toEqual([]);
});
