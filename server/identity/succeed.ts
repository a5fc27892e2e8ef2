/**
 * A stand-alone server becomes a spoke and keeps its envoys: its own root signs that the hub's root succeeds it, then the new identity is put in place. What is
 * intended is written down first, so that a crash anywhere is carried through by the same command.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { JoinReply } from '../../core/api/spanner-join.ts';
import { joinReplySchema } from '../../core/api/spanner-join.ts';
import { CodedError } from '../../core/base/errors.ts';
import { readSigningKey, writeFileDurably } from '../../core/crypto/key-file.ts';
import { type Succession, signSuccession } from '../../core/crypto/succession.ts';
import type { DataPaths } from './paths.ts';
import { keepJoined } from './spoke-keys.ts';

const intentSchema = z.object({
  reply: joinReplySchema,
  succession: z.object({ record: z.string(), signature: z.string() }),
  /** text of the new server.yaml */
  settings: z.string(),
});

const intentFile = (paths: DataPaths): string => join(paths.keys, 'joining.json');

export const isJoining = (paths: DataPaths): boolean => existsSync(intentFile(paths));

/** Writes down what is to happen. @throws CodedError NOT_READY without the server's own root key */
export function intendJoin(paths: DataPaths, reply: JoinReply, settings: string, now: number): void {
  const root = join(paths.keys, 'root.key');
  if (!existsSync(root))
    throw new CodedError('NOT_READY', 'the root key of this server is not here, and its envoys believe nobody else', {
      hint: 'bring keys/root.key from where it is kept, for the time of the join',
    });
  const former = z
    .object({ fleet_id: z.string(), site_id: z.string() })
    .parse(JSON.parse(readFileSync(join(paths.keys, 'fleet.json'), 'utf8')));
  const succession: Succession = {
    former_fleet_id: former.fleet_id,
    former_site_id: former.site_id,
    fleet_id: reply.fleet_id,
    site_id: reply.site_id,
    root_public_key: reply.root_public_key,
    root_ca: reply.root_ca,
    at: now,
  };
  const intent = { reply, succession: signSuccession(readSigningKey(root), succession), settings };
  writeFileDurably(intentFile(paths), `${JSON.stringify(intent)}\n`, 0o600);
}

function moveInto(folder: string, from: string, name: string): void {
  if (existsSync(from)) renameSync(from, join(folder, name));
}

/** Each step may have been done before. */
export function carryThroughJoin(paths: DataPaths): JoinReply {
  const { reply, succession, settings } = intentSchema.parse(JSON.parse(readFileSync(intentFile(paths), 'utf8')));
  const former = join(paths.keys, 'former');
  mkdirSync(join(former, 'revoked'), { recursive: true, mode: 0o700 });
  writeFileDurably(join(paths.keys, 'succession.json'), `${JSON.stringify(succession)}\n`, 0o640);
  moveInto(former, join(paths.keys, 'root.key'), 'root.key');
  moveInto(former, join(paths.tls, 'root-ca.key'), 'root-ca.key');
  if (!existsSync(join(former, 'fleet.json')))
    writeFileDurably(join(former, 'fleet.json'), readFileSync(join(paths.keys, 'fleet.json')), 0o640);
  const revoked = join(paths.keys, 'revoked');
  if (existsSync(revoked)) for (const name of readdirSync(revoked)) moveInto(join(former, 'revoked'), join(revoked, name), name);
  // releases of the former fleet are signed for it: the hub offers the next one, envoys go on with what they hold
  rmSync(paths.live, { force: true });
  if (!existsSync(`${paths.releases}-former`)) renameSync(paths.releases, `${paths.releases}-former`);
  mkdirSync(paths.releases, { recursive: true, mode: 0o750 });
  rmSync(join(paths.tls, 'server.pem'), { force: true });
  writeFileDurably(paths.settings, settings, 0o640);
  keepJoined(paths, reply);
  rmSync(intentFile(paths));
  return reply;
}
