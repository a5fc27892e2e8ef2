/** Sealed answers over a change of owner: what the site before has sealed serves until the new one answers, and never instead of its answer. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redactor } from '../core/base/redaction.ts';
import { newSealingKey, seal, secretsAad, secretsInfo } from '../core/crypto/hpke.ts';
import { quietLog } from '../test/fakes/quiet-log.ts';
import type { AgentIdentity } from './enroll/identity.ts';
import type { ServerLink } from './link/server-link.ts';
import { SecretSource } from './secret-source.ts';
import { openStateStore } from './state/lmdb-state-store.ts';
import type { StateStore } from './state/state-store.ts';

const FLEET = '01980000-0000-7000-8000-000000000001';
const ENVOY = '01980000-0000-7000-8000-000000000002';
const BODY = 'ab'.repeat(32);
const sealingKey = newSealingKey();
const identity = { fleetId: FLEET, envoyId: ENVOY, siteId: 'a', sealingKeys: [sealingKey] } as unknown as AgentIdentity;
const { signal } = new AbortController();
const folder = mkdtempSync(join(tmpdir(), 'vigo-secrets-'));
let state: StateStore;

beforeAll(() => {
  state = openStateStore(join(folder, 'state'));
});
afterAll(async () => {
  await state.close();
  rmSync(folder, { recursive: true });
});

/** A site that seals one value for this envoy. */
function linkTo(siteId: string, value: string, secretsEpoch: number): ServerLink & { asked: number } {
  const link = {
    asked: 0,
    async resolveSecrets(body: string) {
      link.asked += 1;
      const nonce = Buffer.alloc(16, 7);
      const plaintext = Buffer.from(JSON.stringify({ ref: { status: 'ok', value: Buffer.from(value).toString('base64') } }));
      const aad = secretsAad(nonce, Buffer.from(body, 'hex'), secretsEpoch);
      const { enc, ct } = await seal(sealingKey.publicKey, secretsInfo(FLEET, ENVOY, siteId), aad, plaintext);
      return { enc, ct, nonce, secretsEpoch, siteId };
    },
  };
  return link as unknown as ServerLink & { asked: number };
}

const ask = async (source: SecretSource, siteId: string, secretsEpoch: number, link?: ServerLink): Promise<string> => {
  const found = (await source.forRun({ bodySha256: BODY, secretsEpoch, refs: ['ref'], siteId }, link, signal)).get('ref')!;
  return found.status === 'ok' ? found.value.reveal() : found.status;
};
const newProcess = () => new SecretSource({ identity, state, redactor: new Redactor(), log: quietLog() });

test('kept answers survive the move and give way to the new owner, whose epochs count from elsewhere', async () => {
  const source = newProcess();
  expect(await ask(source, 'a', 5, linkTo('a', 'of a', 5))).toBe('of a');
  // the policy is that of the new owner, which cannot be asked
  expect(await ask(source, 'b', 1)).toBe('of a');
  expect(await ask(newProcess(), 'b', 5)).toBe('of a');
  // the number of the epoch is the same by chance: its own value is asked for all the same
  const b = linkTo('b', 'of b', 5);
  expect(await ask(source, 'b', 5, b)).toBe('of b');
  expect(await ask(source, 'b', 5, b)).toBe('of b');
  expect(b.asked).toBe(1);
  // sealed for the new site, opened in a new process without a server
  expect(await ask(newProcess(), 'b', 5)).toBe('of b');
});

test('answers from before sites were written down are those of the enrolment', async () => {
  expect(await ask(newProcess(), 'a', 6, linkTo('a', 'old', 6))).toBe('old');
  const { site_id: _site, ...kept } = state.secrets.kept()!;
  await state.secrets.keep(kept);
  expect(await ask(newProcess(), 'a', 6)).toBe('old');
});

test('a new epoch of the same site makes the kept answer useless', async () => {
  expect(await ask(newProcess(), 'a', 7, linkTo('a', 'seven', 7))).toBe('seven');
  expect(await ask(newProcess(), 'a', 8)).toBe('unavailable');
});
