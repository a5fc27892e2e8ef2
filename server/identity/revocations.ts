/** Root-signed revocations as they are known now: read at start, and kept the moment another server tells one. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openRevocation, type SignedRecord } from '../../core/crypto/delegation.ts';
import { writeFileDurably } from '../../core/crypto/key-file.ts';
import type { DataPaths } from './paths.ts';
import type { ServerIdentity } from './server-identity.ts';

export class Revocations {
  readonly #paths: DataPaths;
  readonly #rootPublicKey: Uint8Array;
  readonly #fleetId: string;
  readonly #records: SignedRecord[];
  readonly #serials = new Set<string>();
  readonly #listeners: (() => void)[] = [];

  constructor(paths: DataPaths, identity: Pick<ServerIdentity, 'rootPublicKey' | 'fleetId' | 'revocations'>) {
    this.#paths = paths;
    this.#rootPublicKey = identity.rootPublicKey;
    this.#fleetId = identity.fleetId;
    this.#records = identity.revocations;
    for (const signed of this.#records) this.#serials.add(openRevocation(this.#rootPublicKey, signed).serial);
  }

  get records(): readonly SignedRecord[] {
    return this.#records;
  }

  /** grows by itself */
  get serials(): ReadonlySet<string> {
    return this.#serials;
  }

  /** called after each that was not known before */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Kept on disk before it counts; answers whether any was new. @throws CodedError BUNDLE_REJECTED for what the root did not sign */
  add(records: readonly SignedRecord[]): boolean {
    let isNew = false;
    for (const signed of records) {
      const { serial, fleet_id: fleetId } = openRevocation(this.#rootPublicKey, signed);
      if (this.#serials.has(serial) || fleetId !== this.#fleetId) continue;
      const folder = join(this.#paths.keys, 'revoked');
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const name = createHash('sha256').update(serial).digest('hex').slice(0, 24);
      writeFileDurably(join(folder, `${name}.json`), `${JSON.stringify({ record: signed.record, signature: signed.signature })}\n`, 0o640);
      this.#records.push({ record: signed.record, signature: signed.signature });
      this.#serials.add(serial);
      isNew = true;
    }
    if (!isNew) return false;
    for (const listener of this.#listeners) listener();
    return true;
  }
}
