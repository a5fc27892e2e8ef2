/** A checkpoint as a signed note: what was the tree, at what size, signed by the server key (server.md §12.5). */
import { CodedError } from '../../core/base/errors.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import { keyIdOf, type SigningKey } from '../../core/crypto/ed25519.ts';

export interface Checkpoint {
  readonly fleetId: string;
  readonly siteId: string;
  readonly size: number;
  readonly root: Uint8Array;
  readonly epoch: number;
  /** milliseconds since 1970 */
  readonly time: number;
}

export interface SignedCheckpoint extends Checkpoint {
  readonly keyId: string;
  readonly signature: Uint8Array;
}

function body(checkpoint: Checkpoint): string {
  return [
    `vigo/${checkpoint.fleetId}/${checkpoint.siteId}`,
    String(checkpoint.size),
    Buffer.from(checkpoint.root).toString('base64'),
    `epoch ${checkpoint.epoch} time ${new Date(checkpoint.time).toISOString()}`,
    '',
  ].join('\n');
}

/** Four lines, an empty one, and the signature line `— vigo <key id> <base64>`. */
export function signCheckpoint(checkpoint: Checkpoint, key: SigningKey): string {
  const text = body(checkpoint);
  const signature = signFor('checkpoint', key, Buffer.from(text, 'utf8')).toString('base64');
  return `${text}\n— vigo ${keyIdOf(key.publicKey)} ${signature}\n`;
}

const NOTE =
  /^vigo\/([0-9a-zA-Z-]{1,64})\/([a-z0-9-]{1,32})\n(\d{1,15})\n([A-Za-z0-9+/]{43}=)\nepoch (\d{1,15}) time (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\n\n— vigo ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\n$/;

/** @throws CodedError AUDIT_BROKEN when the text is no note */
export function parseCheckpoint(note: string): SignedCheckpoint {
  const match = NOTE.exec(note);
  if (match === null) throw new CodedError('AUDIT_BROKEN', 'a checkpoint is not a signed note');
  const [, fleetId, siteId, size, root, epoch, time, keyId, signature] = match as unknown as string[];
  return {
    fleetId: fleetId!,
    siteId: siteId!,
    size: Number(size),
    root: Buffer.from(root!, 'base64'),
    epoch: Number(epoch),
    time: Date.parse(time!),
    keyId: keyId!,
    signature: Buffer.from(signature!, 'base64'),
  };
}

export function isSignedBy(checkpoint: SignedCheckpoint, publicKey: Uint8Array): boolean {
  return (
    keyIdOf(publicKey) === checkpoint.keyId &&
    verifyFor('checkpoint', publicKey, Buffer.from(body(checkpoint), 'utf8'), checkpoint.signature)
  );
}
