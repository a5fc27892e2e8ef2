/** The store under `kill -9`: what was answered is there, what was not is wholly absent, and the audit log still fits. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from '@jest/globals';
import { verifyAudit } from '../../../server/audit/verify.ts';
import { openDatabase } from '../../../server/store/database.ts';

const folder = mkdtempSync(join(tmpdir(), 'vigo-killed-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const writer = fileURLToPath(new URL('../../harness/store-writer.ts', import.meta.url));

test('five times killed in the middle of writing, nothing that was answered is lost', async () => {
  const path = join(folder, 'killed.db');
  let known = 0;
  for (let round = 0; round < 5; round += 1) {
    const child = spawn(process.execPath, [writer, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    while (printed.split('\n').length < 20 + round * 7) await sleep(5);
    child.kill('SIGKILL');
    await once(child, 'close');
    const last = printed.slice(0, printed.lastIndexOf('\n')).split('\n').at(-1)!;
    const [value, size] = last.split(' ').map(Number) as [number, number];
    expect(value).toBeGreaterThan(known);
    const store = await openDatabase({ driver: 'sqlite', path, busyTimeoutMs: 1000, create: false }, 1);
    const stored = await store.counters.get('written');
    // one more may have been committed whose line was never read
    expect(stored).toBeGreaterThanOrEqual(value);
    expect(await store.audit.count()).toBe(stored);
    expect(stored).toBeGreaterThanOrEqual(size);
    expect(await verifyAudit({ store, fleetId: 'f', siteId: 'main', keyOf: () => undefined })).toEqual([]);
    await store.close();
    known = stored;
  }
}, 60_000);
