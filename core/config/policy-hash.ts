/** The hash that says whether a policy changed: a Merkle root over module hashes and the parts around them (config.md §13.4). */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../base/json.ts';
import type { Body } from '../policy/body.ts';

export type BodyCore = Omit<Body, 'release' | 'version' | 'secrets_epoch'>;

function sha256(...parts: readonly (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

function leaf(name: string, hash: string): Buffer {
  return sha256(LEAF, name, LEAF, Buffer.from(hash, 'hex'));
}

/** SHA-256 hex of the canonical JSON of a value. */
export function jsonHash(value: unknown): string {
  return sha256(canonicalJson(value)).toString('hex');
}

/** Leaves in byte order of name; an odd node moves up as it is. Release, version and secrets epoch have no influence. */
export function policyHash(body: BodyCore): string {
  const leaves = new Map<string, string>(body.modules.map((module) => [module.name, module.hash]));
  leaves.set('#vars', jsonHash(body.vars));
  leaves.set('#vars_when', jsonHash(body.vars_when));
  leaves.set(
    '#meta',
    jsonHash({ match: body.match, environment: body.environment, roles: body.roles, order: body.modules.map(({ name }) => name) }),
  );
  leaves.set('#templates', jsonHash(body.templates));
  leaves.set('#devices', jsonHash(body.devices));
  let level = [...leaves].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, hash]) => leaf(name, hash));
  while (level.length > 1) {
    const next: Buffer[] = [];
    for (let i = 0; i < level.length; i += 2) next.push(i + 1 < level.length ? sha256(NODE, level[i]!, level[i + 1]!) : level[i]!);
    level = next;
  }
  return level[0]!.toString('hex');
}
