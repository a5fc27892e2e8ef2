/** ResolveSecrets, on the main thread: only what this envoy's own policy names, in one answer sealed to its key (config.md §9.4). */
import { CodedError } from '../../core/base/errors.ts';
import { idBytes } from '../../core/base/ids.ts';
import { canonicalJson } from '../../core/base/json.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { seal, secretsAad, secretsInfo } from '../../core/crypto/hpke.ts';
import { codecs } from '../../proto/load.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { SecretProvider } from '../secrets/provider.ts';
import { resolveRefs } from '../secrets/resolver.ts';
import type { Store } from '../store/store.ts';
import type { Forwarded } from './messages.ts';

const MAX_REFS = 1_000;
const PAD = 1024;

export interface ResolveParts {
  readonly store: Store;
  readonly identity: ServerIdentity;
  readonly provider: SecretProvider;
  readonly trail: AuditTrail;
  /** what the newest policy of this envoy names, the one before for 10 minutes included */
  allowed(slot: number): { readonly refs: ReadonlySet<string>; readonly secretsEpoch: number };
  hostname(slot: number): string;
  counted(status: string): void;
}

/** ref → {status, value?}: canonical JSON padded with spaces to a multiple of 1 KiB, so that its length tells little. */
function pad(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([bytes, Buffer.alloc((PAD - (bytes.length % PAD)) % PAD, 0x20)]);
}

export async function resolveSecrets(call: Forwarded, parts: ResolveParts): Promise<Buffer> {
  const request = codecs.resolveSecretsRequest.decode(call.payload);
  if (request.refs.length > MAX_REFS) throw new CodedError('TOO_LARGE', `at most ${MAX_REFS} references in one request`);
  if (request.nonce.length !== 16 || request.body_sha256.length !== 32)
    throw new CodedError('BAD_REQUEST', 'nonce or body hash has a wrong length');
  const envoy = await parts.store.envoys.byId(call.envoyId as never);
  if (envoy === undefined) throw new CodedError('RETRY_ELSEWHERE', 'this envoy is not known here');
  const { refs: allowed, secretsEpoch } = parts.allowed(call.slot);
  const asked = [...new Set(request.refs)];
  const denied = asked.filter((ref) => !allowed.has(ref));
  if (denied.length > 0) await recordDenied(parts, call, denied);
  const resolved = await resolveRefs(
    parts.provider,
    asked.filter((ref) => allowed.has(ref)),
  );
  const answer: Record<string, { status: string; value?: string }> = Object.create(null) as Record<
    string,
    { status: string; value?: string }
  >;
  for (const ref of denied) answer[ref] = { status: 'denied' };
  for (const [ref, one] of resolved)
    answer[ref] =
      one.status === 'ok' ? { status: 'ok', value: Buffer.from(one.value.reveal(), 'utf8').toString('base64') } : { status: one.status };
  for (const { status } of Object.values(answer)) parts.counted(status);
  const { identity } = parts;
  const plaintext = pad(canonicalJson(answer));
  const info = secretsInfo(identity.fleetId, call.envoyId, identity.siteId);
  const sealed = await seal(envoy.sealingKey, info, secretsAad(request.nonce, request.body_sha256, secretsEpoch), plaintext);
  plaintext.fill(0);
  const payload = codecs.sealedSecrets.encode({
    envoy_id: idBytes(call.envoyId),
    sequence: call.sequence,
    enc: sealed.enc,
    ct: sealed.ct,
    secrets_epoch: secretsEpoch,
    nonce: request.nonce,
  });
  const delegation = { record: Buffer.from(identity.delegation.record), signature: Buffer.from(identity.delegation.signature, 'base64') };
  return codecs.signedReply.encode({
    payload,
    signature: signFor('resolveSecretsReply', identity.serverKey, payload),
    key_id: identity.keyId,
    delegation,
  });
}

async function recordDenied(parts: ResolveParts, call: Forwarded, denied: readonly string[]): Promise<void> {
  const name = parts.hostname(call.slot);
  await parts.store.transaction((tx) =>
    parts.trail.record(tx, {
      actor: { kind: 'envoy', id: call.envoyId, name },
      event: 'secret.denied',
      target: { kind: 'envoy', id: call.envoyId, name },
      outcome: 'denied',
      data: { refs: denied.slice(0, 50) },
    }),
  );
}
