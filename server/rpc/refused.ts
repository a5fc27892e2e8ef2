/** Refused requests: counted always, audited collapsed per code, envoy and minute, so that an attacker cannot fill the log. */
import type { Clock } from '../../core/base/clock.ts';
import { messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Store } from '../store/store.ts';

const EVENTS: Readonly<Record<string, string>> = {
  REPLAYED: 'request.replayed',
  BAD_SIGNATURE: 'request.bad_signature',
  IDENTITY_MISMATCH: 'request.identity_mismatch',
  CERTIFICATE_INVALID: 'request.identity_mismatch',
  WRONG_AUDIENCE: 'request.identity_mismatch',
};
const COLLAPSE_MS = 60_000;
const FIRST_MS = 200;
const MAX_SOURCES = 1_000;

export interface Refusal {
  readonly code: string;
  readonly method: string;
  readonly envoyId: string;
  readonly address: string;
}

export class RefusedRequests {
  readonly #parts: {
    readonly store: Store;
    readonly trail: AuditTrail;
    readonly metrics: Metrics;
    readonly clock: Clock;
    readonly log: Logger;
  };
  readonly #sources = new Map<string, { readonly refusal: Refusal; count: number; readonly timer: NodeJS.Timeout }>();
  readonly #recent = new Map<string, number>();
  #writing: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly store: Store;
    readonly trail: AuditTrail;
    readonly metrics: Metrics;
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#parts = parts;
  }

  add(refusal: Refusal): void {
    const { metrics } = this.#parts;
    const { code } = refusal;
    metrics.count('vigo_requests_total', 1, { service: 'agent', method: refusal.method, code });
    if (refusal.method === 'checkIn') metrics.count('vigo_checkin_refused_total', 1, { code });
    if (code === 'REPLAYED') metrics.count('vigo_replays_total', 1);
    if (code === 'CLOCK_SKEW') metrics.count('vigo_clock_skew_total', 1);
    if (EVENTS[code] === undefined) return;
    metrics.count('vigo_signature_failures_total', 1, { code });
    const source = `${code} ${refusal.envoyId} ${refusal.address.replace(/:\d+$/, '')}`;
    const known = this.#sources.get(source);
    if (known !== undefined) known.count += 1;
    else if (this.#sources.size < MAX_SOURCES) {
      // the first of a source is recorded at once, what follows within the minute together
      const again = this.#parts.clock.now() - (this.#recent.get(source) ?? 0) < COLLAPSE_MS;
      const timer = setTimeout(() => this.#write(source), again ? COLLAPSE_MS : FIRST_MS);
      timer.unref();
      this.#sources.set(source, { refusal, count: 1, timer });
    }
  }

  #write(source: string): void {
    const found = this.#sources.get(source);
    if (found === undefined) return;
    this.#sources.delete(source);
    if (this.#recent.size > MAX_SOURCES) this.#recent.clear();
    const { store, trail, clock, log } = this.#parts;
    this.#recent.set(source, clock.now());
    const { refusal, count } = found;
    const record = store.transaction((tx) =>
      trail.record(tx, {
        actor: { kind: 'envoy', id: refusal.envoyId, name: refusal.envoyId, address: refusal.address.replace(/:\d+$/, '') },
        event: EVENTS[refusal.code] ?? 'access.denied',
        outcome: 'denied',
        data: { code: refusal.code, method: refusal.method, count },
      }),
    );
    this.#writing = Promise.all([this.#writing, record]).then(
      () => undefined,
      (thrown: unknown) => log.error('a refused request could not be recorded', { error: messageOf(thrown) }),
    );
  }

  async stop(): Promise<void> {
    for (const [source, { timer }] of this.#sources) {
      clearTimeout(timer);
      this.#write(source);
    }
    await this.#writing;
  }
}
