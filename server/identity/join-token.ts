/** Join tokens: `vgj_<spoke>_<secret>_<pin>_<base64url of the hub's API address>`; the pin is that of the root CA, so that the first contact is with the right hub. */
import { createHash, randomBytes } from 'node:crypto';
import { CodedError } from '../../core/base/errors.ts';

export interface JoinToken {
  readonly spokeId: string;
  readonly secret: string;
  readonly pin: string;
  readonly apiUrl: string;
}

const TOKEN = /^vgj_([a-z0-9-]{1,32})_([0-9a-f]{64})_([0-9a-f]{64})_([A-Za-z0-9_-]+)$/;

/** 256 random bits need no slow hash. */
export const joinHash = (secret: string): string => createHash('sha256').update(secret).digest('hex');
export const newJoinSecret = (): string => randomBytes(32).toString('hex');

export function formatJoinToken({ spokeId, secret, pin, apiUrl }: JoinToken): string {
  return `vgj_${spokeId}_${secret}_${pin}_${Buffer.from(apiUrl).toString('base64url')}`;
}

/** @throws CodedError TOKEN_UNKNOWN */
export function parseJoinToken(text: string): JoinToken {
  const match = TOKEN.exec(text.trim());
  const apiUrl = Buffer.from(match?.[4] ?? '', 'base64url').toString('utf8');
  if (match === null || !URL.canParse(apiUrl) || new URL(apiUrl).protocol !== 'https:')
    throw new CodedError('TOKEN_UNKNOWN', 'this is no whole join token', {
      hint: 'it has the form vgj_<spoke>_<secret>_<pin>_<address>; vigocli spanner spoke add prints it once',
    });
  return { spokeId: match[1]!, secret: match[2]!, pin: match[3]!, apiUrl };
}
