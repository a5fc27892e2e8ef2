/** Keeps the link to the hub: dials its addresses in order, says hello, takes its welcome, and comes back with full jitter when it breaks. */
import { X509Certificate } from 'node:crypto';
import { backoffMs } from '../core/base/backoff.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import type { JsonObject } from '../core/base/json.ts';
import type { TlsIdentity } from '../core/crypto/tls.ts';
import type { ServerParts } from '../server/parts.ts';
import { type Party, sayHello } from '../server/spanner/hello.ts';
import type { Answer, LinkSession } from '../server/spanner/link.ts';
import { Session } from '../server/spanner/session.ts';
import { GrpcChannel } from './grpc-channel.ts';

/** A revoked spoke asks seldom. */
const REVOKED_WAIT_MS = 60_000;

export interface HubLinkParts {
  readonly server: Pick<ServerParts, 'clock' | 'identity' | 'log' | 'settings'>;
  readonly party: Party;
  /** kinds that the hub may ask */
  readonly answers: readonly Answer[];
  /** certificate that the hub is shown, as it is now */
  tls(): TlsIdentity;
  /** said with the hello */
  facts(): JsonObject;
  /** said at every heartbeat */
  heartbeat(): JsonObject;
  /** Before anything else of the link: what the signed welcome says, fencing first. */
  welcomed(facts: JsonObject): Promise<void> | void;
  /** a fresh session; a throw closes it */
  up(session: LinkSession): Promise<void> | void;
  /** the hub said, signed, that this server is out */
  revoked(reason: string): void;
}

export interface HubLinkStatus {
  /** the open one */
  readonly session: Session | undefined;
  /** since when it is up or down, milliseconds since 1970 */
  readonly since: number;
  /** why there is none */
  readonly reason: string;
  /** address of the hub in use, or tried last */
  readonly address: string;
}

export class HubLink {
  readonly #parts: HubLinkParts;
  readonly #stop = new AbortController();
  #status: HubLinkStatus;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: HubLinkParts) {
    this.#parts = parts;
    this.#status = { session: undefined, since: parts.server.clock.now(), reason: 'not dialled yet', address: '' };
  }

  get status(): HubLinkStatus {
    return this.#status;
  }

  /** The open session. @throws CodedError SPOKE_UNAVAILABLE */
  get session(): LinkSession {
    const { session, reason } = this.#status;
    if (session?.isOpen !== true)
      throw new CodedError('SPOKE_UNAVAILABLE', `there is no link to the hub: ${reason}`, { retryAfterSeconds: 5 });
    return session;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#status.session?.close('this server is stopping');
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, settings } = this.#parts.server;
    const { signal } = this.#stop;
    const most = Math.max(1_000, Math.min(30_000, settings.spanner.heartbeat * 3));
    for (let attempt = 0; !signal.aborted; attempt++) {
      for (const address of settings.spanner.hub_addr ?? []) {
        if (signal.aborted) return;
        const ended = await this.#once(address);
        if (ended.wasUp) attempt = 0;
        if (ended.revoked) await clock.sleep(Math.random() * REVOKED_WAIT_MS, signal);
      }
      await clock.sleep(backoffMs(attempt, { firstMs: 500, maxMs: most }, Math.random), signal);
    }
  }

  /** One link from its dial to its end. */
  async #once(address: string): Promise<{ readonly wasUp: boolean; readonly revoked: boolean }> {
    const { party, answers, server } = this.#parts;
    const { clock, settings, identity } = server;
    const log = server.log.component('link');
    const tls = this.#parts.tls();
    const channel = new GrpcChannel(address, identity.rootCa, tls);
    const abort = () => channel.close();
    this.#stop.signal.addEventListener('abort', abort, { once: true });
    try {
      const seen = () => ({
        hubCertificate: channel.hubCertificate,
        spokeCertificate: new X509Certificate(tls.certificateChain).fingerprint256,
      });
      const hub = await sayHello(channel, party, seen, { clock, hubSite: identity.hubSite ?? 'hub', facts: this.#parts.facts() });
      await this.#parts.welcomed(hub.facts);
      const session: Session = new Session({
        channel,
        siteId: hub.siteId,
        answers,
        clock,
        log,
        heartbeatMs: settings.spanner.heartbeat,
        heartbeat: () => {
          if (party.revoked().has(hub.key.delegation.serial)) session.close('the hub is revoked');
          return this.#parts.heartbeat();
        },
      });
      const ended = new Promise<string>((resolve) => session.onClose(resolve));
      this.#set({ session, reason: '', address });
      log.info('the link to the hub is up', { hub: address });
      try {
        await this.#parts.up(session);
      } catch (thrown) {
        log.error('the link to the hub could not be set up', { error: thrown });
        session.close('its set-up failed');
      }
      const reason = await ended;
      this.#set({ session: undefined, reason, address });
      log.warn('the link to the hub is down', { hub: address, reason });
      return { wasUp: true, revoked: false };
    } catch (thrown) {
      const failure = channel.failure ?? thrown;
      const refused = thrown instanceof CodedError && thrown.details?.['refused_by'] !== undefined;
      const told = refused ? thrown : failure;
      this.#set({ session: undefined, reason: messageOf(told), address });
      log.warn('no link to the hub', { hub: address, code: told instanceof CodedError ? told.code : 'INTERNAL', error: messageOf(told) });
      const revoked = refused && thrown.code === 'REVOKED';
      if (revoked) this.#parts.revoked(thrown.message);
      return { wasUp: false, revoked };
    } finally {
      this.#stop.signal.removeEventListener('abort', abort);
      channel.close();
    }
  }

  #set(status: Omit<HubLinkStatus, 'since'>): void {
    const same = (status.session === undefined) === (this.#status.session === undefined);
    this.#status = { ...status, since: same ? this.#status.since : this.#parts.server.clock.now() };
  }
}
