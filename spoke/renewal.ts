/** A spoke keeps its delegation and its intermediate CA young: asked of the hub at two thirds of their life, when there is a link. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError, messageOf } from '../core/base/errors.ts';
import { isDueForRenewal, validityOf } from '../core/crypto/certificate.ts';
import { type Delegation, openDelegation } from '../core/crypto/delegation.ts';
import { writeFileDurably } from '../core/crypto/key-file.ts';
import { keepDelegation, spokeRequest } from '../server/identity/spoke-keys.ts';
import type { ServerParts } from '../server/parts.ts';
import { renewIdentityKind } from '../server/spanner/kinds/trust.ts';
import type { LinkSession } from '../server/spanner/link.ts';

const CHECK_MS = 3_600_000;

type Parts = Pick<ServerParts, 'clock' | 'identity' | 'log' | 'paths' | 'rpc'>;

function due({ identity, clock, paths }: Parts): { readonly delegation: boolean; readonly ca: boolean } {
  const { not_before: notBefore, not_after: notAfter } = JSON.parse(identity.delegation.record) as Delegation;
  const now = clock.now();
  return {
    delegation: isDueForRenewal({ notBefore, notAfter }, now),
    ca: isDueForRenewal(validityOf(readFileSync(join(paths.tls, 'site-ca.pem'), 'utf8')), now),
  };
}

/** Asks when something is due; in use at once, a new CA from the next renewal of the server's certificate on. @throws what the link throws, BUNDLE_REJECTED */
export async function renewIdentity(parts: Parts, hub: LinkSession): Promise<boolean> {
  const { identity, paths, rpc, log } = parts;
  const needs = due(parts);
  if (!needs.delegation && !needs.ca) return false;
  const csr = needs.ca ? (await spokeRequest(paths)).caRequest : null;
  const { delegation, site_ca: ca } = await hub.request(renewIdentityKind, { ca_csr: csr });
  const fresh = openDelegation(identity.rootPublicKey, identity.fleetId, delegation);
  if (fresh.keyId !== identity.keyId || fresh.delegation.site_id !== identity.siteId)
    throw new CodedError('BUNDLE_REJECTED', 'the hub answered with a delegation of another server');
  keepDelegation(paths, delegation);
  if (ca !== null) writeFileDurably(join(paths.tls, 'site-ca.pem'), ca, 0o644);
  identity.delegation = delegation;
  rpc.useDelegation(delegation);
  log.component('link').info('the delegation was renewed', { until: new Date(fresh.delegation.not_after).toISOString(), ca: ca !== null });
  return true;
}

/** Looks at each link and once an hour. */
export function keepRenewed(parts: Parts, hub: () => LinkSession | undefined): { check(): void; stop(): void } {
  const check = () => {
    const session = hub();
    if (session === undefined) return;
    renewIdentity(parts, session).catch((thrown: unknown) =>
      parts.log.component('link').warn('the delegation could not be renewed yet', { error: messageOf(thrown) }),
    );
  };
  const timer = setInterval(check, CHECK_MS);
  timer.unref();
  return { check, stop: () => clearInterval(timer) };
}
