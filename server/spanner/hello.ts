/**
 * Who is at the other end of a stream: the hub sends a nonce, the spoke's hello signs it together with both sites, its own nonce and the certificates both ends
 * see, and the hub's welcome or refusal is signed likewise. Keys count through delegations of the fleet's root; the certificate alone proves nothing here.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, isErrorCode } from '../../core/base/errors.ts';
import { canonicalBytes, type JsonObject } from '../../core/base/json.ts';
import { openDelegation, type SignedRecord, type TrustedKey } from '../../core/crypto/delegation.ts';
import { signFor, verifyFor } from '../../core/crypto/domain.ts';
import type { SigningKey } from '../../core/crypto/ed25519.ts';
import { codecs, PROTOCOL_VERSION } from '../../proto/load.ts';
import type { FrameChannel } from './channel.ts';
import { jsonOf, singleFrame } from './frames.ts';

/** Longer than this nobody waits for the next word. */
const PATIENCE_MS = 10_000;
const MAX_WORD = 128 * 1024;

/** Who we are. */
export interface Party {
  readonly fleetId: string;
  readonly siteId: string;
  readonly serverId: string;
  readonly rootPublicKey: Uint8Array;
  readonly serverKey: SigningKey;
  readonly delegation: SignedRecord;
  /** serials that the root has revoked */
  revoked(): ReadonlySet<string>;
}

const facts = z.record(z.string(), z.json());
const shared = {
  fleet_id: z.string(),
  from_site: z.string(),
  from_server: z.string(),
  to_site: z.string(),
  hub_nonce: z.string(),
  spoke_nonce: z.string(),
  /** SHA-256 of the certificate that the hub shows and of the one that the spoke shows, as the signer sees them */
  hub_certificate: z.string(),
  spoke_certificate: z.string(),
  time_ms: z.number(),
  protocol: z.number().int(),
  facts,
};
const helloSchema = z.object({ say: z.literal('hello'), ...shared });
const welcomeSchema = z.object({ say: z.literal('welcome'), ...shared });
const refusedSchema = z.object({ say: z.literal('refused'), ...shared, code: z.string(), message: z.string() });
const signedSchema = z.object({
  record: z.string(),
  signature: z.string(),
  delegation: z.object({ record: z.string(), signature: z.string() }),
});
const challengeSchema = z.object({ nonce: z.string().min(32).max(200), site_id: z.string() });

/** What both ends know of the connection below. */
export interface Seen {
  readonly hubCertificate: string;
  readonly spokeCertificate: string;
}

interface Word {
  readonly kind: string;
  readonly value: unknown;
}

/** The next frame of the channel as a word of the greeting. */
function nextWord(channel: FrameChannel): Promise<Word> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new CodedError('DEADLINE', 'the other end said nothing')), PATIENCE_MS);
    channel.onClose((reason) => {
      clearTimeout(timer);
      reject(new CodedError('SPOKE_UNAVAILABLE', `the link broke before it was made: ${reason}`));
    });
    channel.onFrame((bytes) => {
      // what comes after is for the next one who listens
      channel.onFrame(undefined);
      clearTimeout(timer);
      try {
        if (bytes.length > MAX_WORD) throw new CodedError('TOO_LARGE', 'the greeting is too long');
        const frame = codecs.linkFrame.decode(bytes);
        resolve({ kind: frame.kind, value: jsonOf(frame.body) });
      } catch (cause) {
        reject(cause instanceof CodedError ? cause : new CodedError('BAD_REQUEST', 'the greeting does not parse', { cause }));
      }
    });
  });
}

function signed(party: Party, record: object): object {
  const bytes = canonicalBytes(record);
  return {
    record: bytes.toString('utf8'),
    signature: signFor('link', party.serverKey, bytes).toString('base64'),
    delegation: party.delegation,
  };
}

/** The record and the key that signed it, when the chain ends at the root and the key is of the site and server that the record names. */
function opened<T extends z.ZodType>(party: Party, schema: T, value: unknown): { readonly record: z.output<T>; readonly key: TrustedKey } {
  const envelope = signedSchema.safeParse(value);
  if (!envelope.success) throw new CodedError('BAD_REQUEST', 'the greeting has an unknown shape');
  const { record: text, signature, delegation } = envelope.data;
  const key = openDelegation(party.rootPublicKey, party.fleetId, delegation);
  if (!verifyFor('link', key.publicKey, Buffer.from(text, 'utf8'), Buffer.from(signature, 'base64')))
    throw new CodedError('BAD_SIGNATURE', 'the greeting is not signed by the key of its delegation');
  const parsed = schema.safeParse(jsonOf(Buffer.from(text, 'utf8')));
  if (!parsed.success) throw new CodedError('BAD_REQUEST', 'the greeting has an unknown shape', { cause: parsed.error });
  const { fleet_id, from_site, from_server } = parsed.data as { fleet_id: string; from_site: string; from_server: string };
  const { delegation: rights } = key;
  if (fleet_id !== party.fleetId || from_site !== rights.site_id || from_server !== rights.server_id)
    throw new CodedError('IDENTITY_MISMATCH', 'the greeting names another server than its delegation');
  return { record: parsed.data, key };
}

function held(name: string, given: unknown, wanted: unknown): void {
  if (given !== wanted) throw new CodedError('REPLAYED', `the greeting is not of this link: its ${name} differs`);
}

export interface Greeted {
  readonly siteId: string;
  readonly serverId: string;
  readonly key: TrustedKey;
  /** what the other end adds */
  readonly facts: JsonObject;
}

const nonce = () => randomBytes(24).toString('base64url');

/**
 * The hub's side. `decide` answers what the welcome adds, or throws: then the spoke gets the code, signed.
 * @throws CodedError of what did not hold; the channel is closed then
 */
export async function hearHello(
  channel: FrameChannel,
  party: Party,
  seen: Seen & { /** server that the certificate names */ readonly serverId: string },
  parts: { readonly clock: Pick<Clock, 'now'>; decide(greeted: Greeted): Promise<JsonObject> },
): Promise<Greeted> {
  const hubNonce = nonce();
  let spokeNonce = '';
  let to = '';
  const own = () => ({
    fleet_id: party.fleetId,
    from_site: party.siteId,
    from_server: party.serverId,
    to_site: to,
    hub_nonce: hubNonce,
    spoke_nonce: spokeNonce,
    hub_certificate: seen.hubCertificate,
    spoke_certificate: seen.spokeCertificate,
    time_ms: parts.clock.now(),
    protocol: PROTOCOL_VERSION,
  });
  try {
    const heard = nextWord(channel);
    heard.catch(() => undefined);
    await channel.send(singleFrame({ kind: '.challenge' }, { nonce: hubNonce, site_id: party.siteId }));
    const word = await heard;
    if (word.kind !== '.hello') throw new CodedError('BAD_REQUEST', 'a link begins with a hello');
    const { record, key } = opened(party, helloSchema, word.value);
    spokeNonce = record.spoke_nonce;
    to = record.from_site;
    held('nonce', record.hub_nonce, hubNonce);
    held('site', record.to_site, party.siteId);
    if (
      record.hub_certificate !== seen.hubCertificate ||
      record.spoke_certificate !== seen.spokeCertificate ||
      record.from_server !== seen.serverId
    )
      throw new CodedError('IDENTITY_MISMATCH', 'the spoke sees other certificates than the hub: somebody stands between them');
    if (party.revoked().has(key.delegation.serial)) throw new CodedError('REVOKED', `the server of ${record.from_site} is revoked`);
    const greeted: Greeted = { siteId: record.from_site, serverId: record.from_server, key, facts: record.facts as JsonObject };
    const welcome = await parts.decide(greeted);
    await channel.send(singleFrame({ kind: '.welcome' }, signed(party, { say: 'welcome', ...own(), facts: welcome })));
    return greeted;
  } catch (thrown) {
    const error = thrown instanceof CodedError ? thrown : new CodedError('INTERNAL', 'internal failure', { cause: thrown });
    await channel.send(
      singleFrame({ kind: '.refused' }, signed(party, { say: 'refused', ...own(), facts: {}, code: error.code, message: error.message })),
    );
    channel.close(error);
    throw error;
  }
}

/**
 * The spoke's side.
 * @param hubSite the site that was met at the join: no other is taken for the hub
 * @throws CodedError what the hub refused with, signed by it, or what did not hold of its own words
 */
export async function sayHello(
  channel: FrameChannel,
  party: Party,
  seen: () => Seen,
  parts: { readonly clock: Pick<Clock, 'now'>; readonly hubSite: string; readonly facts: JsonObject },
): Promise<Greeted> {
  try {
    const challenge = await nextWord(channel);
    const parsed = challengeSchema.safeParse(challenge.value);
    if (challenge.kind !== '.challenge' || !parsed.success) throw new CodedError('BAD_REQUEST', 'the server does not speak as a hub');
    if (parsed.data.site_id !== parts.hubSite)
      throw new CodedError('IDENTITY_MISMATCH', `the server is of site ${parsed.data.site_id}, and the hub is ${parts.hubSite}`);
    const certificates = seen();
    const hello = {
      say: 'hello',
      fleet_id: party.fleetId,
      from_site: party.siteId,
      from_server: party.serverId,
      to_site: parts.hubSite,
      hub_nonce: parsed.data.nonce,
      spoke_nonce: nonce(),
      hub_certificate: certificates.hubCertificate,
      spoke_certificate: certificates.spokeCertificate,
      time_ms: parts.clock.now(),
      protocol: PROTOCOL_VERSION,
      facts: parts.facts,
    };
    const answer = nextWord(channel);
    answer.catch(() => undefined);
    await channel.send(singleFrame({ kind: '.hello' }, signed(party, hello)));
    const word = await answer;
    const { record, key } = opened(party, z.union([welcomeSchema, refusedSchema]), word.value);
    held('site', record.from_site, parts.hubSite);
    held('nonce', record.hub_nonce, hello.hub_nonce);
    if (record.say === 'welcome' || record.spoke_nonce !== '') held('nonce', record.spoke_nonce, hello.spoke_nonce);
    if (!key.delegation.scopes.includes('redirect'))
      throw new CodedError('IDENTITY_MISMATCH', 'the server at the other end may not act as a hub');
    if (party.revoked().has(key.delegation.serial)) throw new CodedError('REVOKED', 'the hub at the other end is revoked');
    if (record.say === 'refused')
      throw new CodedError(isErrorCode(record.code) ? record.code : 'INTERNAL', record.message, {
        details: { refused_by: record.from_site },
      });
    if (record.hub_certificate !== hello.hub_certificate || record.spoke_certificate !== hello.spoke_certificate)
      throw new CodedError('IDENTITY_MISMATCH', 'the hub sees other certificates: somebody stands between');
    return { siteId: record.from_site, serverId: record.from_server, key, facts: record.facts as JsonObject };
  } catch (thrown) {
    channel.close();
    throw thrown;
  }
}
