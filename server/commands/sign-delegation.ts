import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { newId } from '../../core/base/ids.ts';
import { flag } from '../../core/command/flags.ts';
import { DELEGATION_SCOPES, signDelegation, signRevocation } from '../../core/crypto/delegation.ts';
import { requireAcceptablePublicKey } from '../../core/crypto/ed25519.ts';
import { readSigningKey, writeFileDurably } from '../../core/crypto/key-file.ts';
import { dataPaths } from '../identity/paths.ts';
import { dataDirOf, serverCommand } from './globals.ts';

const requestSchema = z.object({
  fleet_id: z.string(),
  site_id: z.string(),
  server_id: z.string(),
  public_key: z.base64(),
  epoch: z.number().int().positive(),
});
const DAY_MS = 86_400_000;

export const signDelegationCommand = serverCommand({
  name: ['sign-delegation'],
  summary: 'on a host that holds the root key: sign a server key, or revoke one',
  flags: z.object({
    request: flag.text('JSON with fleet_id, site_id, server_id, public_key (base64), epoch', { value: 'file' }),
    out: flag.needed('where the signed record goes', { value: 'file' }),
    days: flag.whole('life of the delegation (default 90)'),
    revoke: flag.text('serial of the delegation to revoke', { value: 'serial' }),
  }),
  async run({ flags, globals }, io) {
    const paths = dataPaths(dataDirOf(globals, io.env));
    const root = readSigningKey(join(paths.keys, 'root.key'));
    const now = systemClock.now();
    if (flags.revoke !== undefined) {
      const { fleet_id: fleetId } = JSON.parse(readFileSync(join(paths.keys, 'fleet.json'), 'utf8')) as { fleet_id: string };
      writeFileDurably(flags.out, `${JSON.stringify(signRevocation(root, { fleet_id: fleetId, serial: flags.revoke, at: now }))}\n`, 0o644);
      io.out(`revoked ${flags.revoke}: ${flags.out}\nput this file into keys/revoked/ of every server and restart it\n`);
      return 0;
    }
    if (flags.request === undefined) throw new CodedError('USAGE', 'give --request <file> or --revoke <serial>');
    const request = requestSchema.safeParse(JSON.parse(readFileSync(flags.request, 'utf8')));
    if (!request.success) throw new CodedError('BAD_REQUEST', `${flags.request} is not a delegation request`, { cause: request.error });
    requireAcceptablePublicKey(Buffer.from(request.data.public_key, 'base64'));
    const record = signDelegation(root, {
      ...request.data,
      scopes: [...DELEGATION_SCOPES],
      may_promote: true,
      not_before: now - 600_000,
      not_after: now + (flags.days ?? 90) * DAY_MS,
      serial: newId(now),
    });
    writeFileDurably(flags.out, `${JSON.stringify(record)}\n`, 0o644);
    io.out(`signed: ${flags.out}\n`);
    return 0;
  },
});
