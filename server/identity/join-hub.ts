/** The join of a spoke, at its first start: pinned first contact with the hub, own keys shown, the answer kept, the token deleted; a crash anywhere is repeated with the same keys. */
import { existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { type JoinReply, joinReplySchema, joinSpanner } from '../../core/api/spanner-join.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, ERROR_CODES } from '../../core/base/errors.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import type { Logger } from '../../core/base/log.ts';
import { publicKeyPin } from '../../core/crypto/certificate.ts';
import { openDelegation, openRevocation } from '../../core/crypto/delegation.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import { keyIdOf, type SigningKey } from '../../core/crypto/ed25519.ts';
import { httpsCall, problemOf } from '../../core/crypto/https-client.ts';
import { readKeyFile } from '../../core/crypto/key-file.ts';
import { fetchPinnedRoot } from '../../core/crypto/tls.ts';
import { type JoinToken, parseJoinToken } from './join-token.ts';
import type { DataPaths } from './paths.ts';
import { hasJoined, keepJoined, makeSpokeKeys, spokeRequest } from './spoke-keys.ts';

const ATTEMPTS = 8;
const MAX_REPLY = 256 * 1024;

export interface JoinOptions {
  readonly paths: DataPaths;
  readonly spokeId: string;
  /** as settings name it */
  readonly tokenFile: string | undefined;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** @throws CodedError UNREACHABLE, CA_PIN_MISMATCH, TOKEN_* and what else the hub answers */
export async function joinOnce(options: JoinOptions): Promise<void> {
  const { paths, spokeId, log } = options;
  const file = options.tokenFile === undefined ? undefined : resolve(paths.root, options.tokenFile);
  if (hasJoined(paths)) {
    // the crash came between the two
    if (file !== undefined && existsSync(file)) rmSync(file);
    return;
  }
  if (file === undefined || !existsSync(file))
    throw new CodedError(
      'SETTINGS_INVALID',
      `this spoke has not joined a hub, and there is no join token ${file ?? 'in spanner.join_token_file'}`,
      {
        hint: `on the hub: vigocli spanner spoke add ${spokeId}`,
      },
    );
  const token = parseJoinToken(readKeyFile(file));
  if (token.spokeId !== spokeId)
    throw new CodedError('SETTINGS_INVALID', `the join token is for ${token.spokeId}, and spanner.spoke_id is ${spokeId}`);
  await makeSpokeKeys(paths);
  const reply = await askToJoin(options, token);
  keepJoined(paths, reply);
  rmSync(file);
  log.info('joined the hub', { hub: token.apiUrl, site: reply.site_id, fleet_id: reply.fleet_id });
}

type Asking = Pick<JoinOptions, 'paths' | 'version' | 'clock' | 'log'>;

/** The hub's answer to this server's keys; nothing is kept of it yet. @throws CodedError as {@link joinOnce} */
export async function askToJoin(options: Asking, token: JoinToken): Promise<JoinReply> {
  const { clock, log } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      return await join(options, token);
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || ERROR_CODES[thrown.code].retry !== 'backoff' || attempt >= ATTEMPTS) throw thrown;
      log.warn('the hub cannot be joined yet', { hub: token.apiUrl, code: thrown.code, error: thrown.message });
      await clock.sleep(Math.max(Math.min(1000 * 2 ** (attempt - 1), 15_000), (thrown.retryAfterSeconds ?? 0) * 1000));
    }
  }
}

async function join({ paths, version }: Asking, token: JoinToken): Promise<JoinReply> {
  const api = new URL(token.apiUrl);
  const root = await fetchPinnedRoot(api.hostname.replace(/^\[|\]$/g, ''), api.port === '' ? 443 : Number(api.port), token.pin, 10_000);
  const { serverKey, caRequest } = await spokeRequest(paths);
  const unsigned = {
    spoke_id: token.spokeId,
    secret: token.secret,
    server_key: Buffer.from(serverKey.publicKey).toString('base64'),
    ca_csr: caRequest,
    version,
  };
  const reply = await httpsCall({
    method: joinSpanner.method,
    url: new URL(joinSpanner.path, api),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...unsigned, proof: signFor('link', serverKey, canonicalBytes(unsigned)).toString('base64') }),
    rootCa: root.certificate,
    timeoutMs: 30_000,
    maxBytes: MAX_REPLY,
  });
  if (reply.status !== joinSpanner.status) throw problemOf(reply);
  return checked(joinReplySchema.parse(JSON.parse(reply.body.toString('utf8'))), token, serverKey);
}

/** What the hub says must hold of itself: nothing is kept of a reply that does not. */
function checked(reply: JoinReply, token: JoinToken, serverKey: SigningKey): JoinReply {
  const { signature, ...unsigned } = reply;
  const rootKey = Buffer.from(reply.root_public_key, 'base64');
  const hub = openDelegation(rootKey, reply.fleet_id, reply.hub_delegation);
  const own = openDelegation(rootKey, reply.fleet_id, reply.delegation);
  for (const record of reply.revoked) openRevocation(rootKey, record);
  const holds =
    verifyFor('link', hub.publicKey, canonicalBytes(unsigned), Buffer.from(signature, 'base64')) &&
    hub.delegation.site_id === reply.hub_site &&
    hub.delegation.scopes.includes('redirect') &&
    own.keyId === keyIdOf(serverKey.publicKey) &&
    own.delegation.site_id === token.spokeId &&
    own.delegation.server_id === reply.server_id &&
    reply.site_id === token.spokeId &&
    publicKeyPin(reply.root_ca) === token.pin;
  if (!holds)
    throw new CodedError('BUNDLE_REJECTED', 'the answer to the join does not hold: it is not for this server, or not of this hub');
  return reply;
}
