/** Join tokens and the join itself: one use, bound to a spoke id; a reply that was lost is given again to the same keys for a quarter of an hour. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type JoinReply, type JoinRequest, joinReplySchema } from '../core/api/spanner-join.ts';
import { CodedError } from '../core/base/errors.ts';
import { newId } from '../core/base/ids.ts';
import { canonicalBytes, canonicalJson } from '../core/base/json.ts';
import { signFor, verifyFor } from '../core/crypto/domain.ts';
import { fingerprintOf, requireAcceptablePublicKey } from '../core/crypto/ed25519.ts';
import { formatJoinToken, joinHash, newJoinSecret } from '../server/identity/join-token.ts';
import { certifySiteCa, delegateSpoke } from '../server/identity/sign-spoke.ts';
import type { ServerParts } from '../server/parts.ts';
import { delegationsOf } from './delegations.ts';
import type { SiteRegistry } from './sites.ts';

const SAME_ANSWER_MS = 15 * 60_000;
const MAX_TTL_MS = 30 * 86_400_000;

type Parts = Pick<ServerParts, 'clock' | 'identity' | 'paths' | 'settings' | 'store' | 'trail'>;

export interface NewJoinToken {
  /** shown once */
  readonly token: string;
  readonly hash: string;
  readonly expiresAt: number;
}

/** @throws CodedError BAD_REQUEST */
export function mintJoinToken(parts: Parts, spokeId: string, ttlMs: number): NewJoinToken {
  if (ttlMs <= 0 || ttlMs > MAX_TTL_MS) throw new CodedError('BAD_REQUEST', 'the lifetime of a token is between 1 second and 30 days');
  const secret = newJoinSecret();
  const { rootPin } = parts.identity;
  return {
    token: formatJoinToken({ spokeId, secret, pin: rootPin, apiUrl: parts.settings.server.public_url }),
    hash: joinHash(secret),
    expiresAt: parts.clock.now() + ttlMs,
  };
}

function isSame(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

export class Joins {
  readonly #parts: Parts;
  readonly #sites: SiteRegistry;
  readonly #running = new Map<string, Promise<JoinReply>>();

  constructor(parts: Parts, sites: SiteRegistry) {
    this.#parts = parts;
    this.#sites = sites;
  }

  /** One at a time for a spoke. @throws CodedError TOKEN_UNKNOWN, TOKEN_EXPIRED, TOKEN_ALREADY_SPENT, BAD_PROOF, WEAK_KEY, BAD_CSR, NOT_READY without the root key */
  async join(request: JoinRequest, address: string): Promise<JoinReply> {
    const before = this.#running.get(request.spoke_id) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => this.#join(request, address));
    this.#running.set(request.spoke_id, mine);
    try {
      return await mine;
    } finally {
      if (this.#running.get(request.spoke_id) === mine) this.#running.delete(request.spoke_id);
    }
  }

  async #join(request: JoinRequest, address: string): Promise<JoinReply> {
    const { clock, store, trail, identity, paths } = this.#parts;
    const now = clock.now();
    const row = await store.sites.byId(request.spoke_id);
    // an unknown spoke and a wrong secret look alike
    if (row === undefined || row.join.hash === '' || !isSame(row.join.hash, joinHash(request.secret)))
      throw new CodedError('TOKEN_UNKNOWN', 'the join token is not known');
    const publicKey = Buffer.from(request.server_key, 'base64');
    requireAcceptablePublicKey(publicKey);
    const { proof, ...unsigned } = request;
    if (!verifyFor('link', publicKey, canonicalBytes(unsigned), Buffer.from(proof, 'base64')))
      throw new CodedError('BAD_PROOF', 'the server key did not sign the request');
    if (row.join.spentAt > 0) {
      if (row.serverKey !== request.server_key || now - row.join.spentAt > SAME_ANSWER_MS) {
        throw new CodedError('TOKEN_ALREADY_SPENT', 'the join token was used before', {
          hint: `make a new one: vigocli spanner spoke add ${row.id}`,
        });
      }
      return joinReplySchema.parse(JSON.parse(row.join.answer));
    }
    if (row.join.expiresAt <= now) throw new CodedError('TOKEN_EXPIRED', 'the join token is past its lifetime');
    const serverId = newId(now);
    // a second join of an id is another signing authority
    const epoch = row.serverId === '' ? row.epoch : row.epoch + 1;
    const site = { fleetId: identity.fleetId, siteId: row.id, serverId, publicKey, epoch };
    const unsignedReply = {
      fleet_id: identity.fleetId,
      site_id: row.id,
      server_id: serverId,
      epoch,
      root_public_key: Buffer.from(identity.rootPublicKey).toString('base64'),
      root_ca: identity.rootCa,
      site_ca: await certifySiteCa(paths, row.id, request.ca_csr, now),
      delegation: delegateSpoke(paths, site, now),
      revoked: [...identity.revocations],
      hub_site: identity.siteId,
      hub_delegation: identity.delegation,
    };
    const reply: JoinReply = {
      ...unsignedReply,
      signature: signFor('link', identity.serverKey, canonicalBytes(unsignedReply)).toString('base64'),
    };
    await store.transaction(async (tx) => {
      if (!(await tx.sites.spendJoin(row.id, row.join.hash, canonicalJson(reply), now)))
        throw new CodedError('TOKEN_ALREADY_SPENT', 'the join token was used before');
      await tx.sites.update(row.id, {
        state: row.state === 'joining' || row.state === 'removed' ? 'active' : row.state,
        stateAt: now,
        serverId,
        serverKey: request.server_key,
        epoch,
        // what another server of this id held stays known, so that it can be revoked
        delegation: JSON.stringify([reply.delegation, ...delegationsOf(row)]),
        ca: reply.site_ca,
      });
      await trail.record(tx, {
        actor: { kind: 'spoke', id: row.id, name: row.id, address },
        event: 'spoke.joined',
        target: { kind: 'spoke', id: row.id, name: row.addr },
        outcome: 'ok',
        data: { server_id: serverId, key_fingerprint: createHash('sha256').update(publicKey).digest('hex'), key: fingerprintOf(publicKey) },
      });
    });
    await this.#sites.reload(row.id);
    return reply;
  }
}
