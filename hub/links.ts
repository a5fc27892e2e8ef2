/** Accepts the links of spokes: a signed hello first, then one session a site, told to the registry with every heartbeat. */
import { X509Certificate } from 'node:crypto';
import { CodedError } from '../core/base/errors.ts';
import type { JsonObject } from '../core/base/json.ts';
import type { ServerParts } from '../server/parts.ts';
import type { AcceptedStream } from '../server/rpc/thread-stream.ts';
import { type Greeted, hearHello, type Party } from '../server/spanner/hello.ts';
import type { Answer } from '../server/spanner/link.ts';
import { Session } from '../server/spanner/session.ts';
import type { SiteRegistry } from './sites.ts';

export interface HubLinksParts {
  readonly server: Pick<ServerParts, 'clock' | 'identity' | 'log' | 'metrics' | 'rpc' | 'settings'>;
  readonly sites: SiteRegistry;
  readonly party: Party;
  /** kinds that spokes may ask */
  readonly answers: readonly Answer[];
  /** what the signed welcome tells a site beside the greeting, such as that it is fenced */
  welcome(siteId: string): Promise<JsonObject>;
  /** PEM chain that the RPC port shows now */
  certificate(): string;
}

/** Greetings that may be under way at once: in all, and from one host, so that one cannot keep the others out. */
const MOST_GREETINGS = 64;
const MOST_OF_A_HOST = 8;

const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(':'));

export class HubLinks {
  readonly #parts: HubLinksParts;
  readonly #open = new Set<Session>();
  /** hosts of those under way */
  readonly #greetings: string[] = [];
  #stopped = false;

  constructor(parts: HubLinksParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.server.rpc.onStream((stream) => {
      const host = hostOf(stream.address);
      const same = this.#greetings.filter((each) => each === host).length;
      if (this.#stopped || this.#greetings.length >= MOST_GREETINGS || same >= MOST_OF_A_HOST) {
        stream.close(new CodedError('OVERLOADED', 'too many links are being made', { retryAfterSeconds: 5 }));
        return;
      }
      this.#greetings.push(host);
      void this.#accept(stream)
        .catch((thrown: unknown) => this.#refused(stream, thrown))
        .finally(() => {
          this.#greetings.splice(this.#greetings.indexOf(host), 1);
        });
    });
  }

  async #accept(stream: AcceptedStream): Promise<void> {
    const { server, sites, party, answers } = this.#parts;
    const { clock, log, settings } = server;
    const seen = {
      hubCertificate: new X509Certificate(this.#parts.certificate()).fingerprint256,
      spokeCertificate: stream.certificate,
      serverId: stream.serverId,
    };
    const greeted = await hearHello(stream, party, seen, { clock, decide: (spoke) => this.#decide(spoke) });
    const session: Session = new Session({
      channel: stream,
      siteId: greeted.siteId,
      answers,
      clock,
      log: log.component('link'),
      heartbeatMs: settings.spanner.heartbeat,
      onHeartbeat: (body) => sites.beat(session, body, session.clockOffsetMs),
    });
    this.#open.add(session);
    session.onClose((reason) => {
      this.#open.delete(session);
      sites.down(session, reason);
      log.component('link').warn('a link is down', { spoke_id: greeted.siteId, reason });
    });
    server.metrics.count('vigo_requests_total', 1, { service: 'spanner', method: 'Link', code: 'OK' });
    log.component('link').info('a link is up', { spoke_id: greeted.siteId, address: stream.address });
    await sites.change(greeted.siteId, { lastSeen: clock.now(), ...addressesOf(greeted.facts, sites.get(greeted.siteId)?.addr ?? '') });
    try {
      await sites.up(session, greeted.facts);
    } catch (thrown) {
      log.component('link').error('a link could not be set up', { spoke_id: greeted.siteId, error: thrown });
      session.close('its set-up failed');
    }
  }

  /** Which server of which spoke is let in. @throws CodedError REVOKED, signed on its way */
  async #decide({ siteId, serverId, key }: Greeted): Promise<JsonObject> {
    const site = this.#parts.sites.get(siteId);
    if (site === undefined || site.own) throw new CodedError('REVOKED', `this hub has no spoke ${siteId}`);
    if (site.state === 'removed') throw new CodedError('REVOKED', `the spoke ${siteId} was removed`);
    if (site.serverId !== serverId || site.serverKey !== Buffer.from(key.publicKey).toString('base64'))
      throw new CodedError('REVOKED', `another server took the place of this one as ${siteId}`);
    return await this.#parts.welcome(siteId);
  }

  #refused(stream: AcceptedStream, thrown: unknown): void {
    const { log, metrics } = this.#parts.server;
    const code = thrown instanceof CodedError ? thrown.code : 'INTERNAL';
    metrics.count('vigo_requests_total', 1, { service: 'spanner', method: 'Link', code });
    log.component('link').warn('a link was refused', {
      code,
      error: thrown instanceof Error ? thrown.message : String(thrown),
      address: stream.address,
      server_id: stream.serverId,
    });
    stream.close();
  }

  /** Ends the link of a site that is no longer let in. */
  drop(siteId: string, reason: string): void {
    for (const session of this.#open) if (session.siteId === siteId) session.close(reason);
  }

  stop(): void {
    this.#stopped = true;
    this.#parts.server.rpc.onStream(undefined);
    for (const session of [...this.#open]) session.close('the hub is stopping');
  }
}

/** As agents take them from a grant: with another one an envoy that moves there would find nobody. */
const ADDRESS = /^[^\s/@]{1,260}:\d{1,5}$/;
const isApiUrl = (text: string): boolean => text.length < 300 && /^https:\/\/[\x21-\x7e]+$/.test(text) && URL.canParse(text);

/** What a spoke says of where it is reached; the address that an admin gave stays. */
function addressesOf(facts: JsonObject, addr: string): { readonly apiUrl?: string; readonly addr?: string } {
  const { api_url: apiUrl, advertise } = facts;
  return {
    ...(typeof apiUrl === 'string' && isApiUrl(apiUrl) ? { apiUrl } : {}),
    ...(addr === '' && typeof advertise === 'string' && ADDRESS.test(advertise) ? { addr: advertise } : {}),
  };
}
