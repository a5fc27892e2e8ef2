/** Denied requests in the audit log: the first of a source at once, what follows within a minute together with its count. */
import { messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Actor } from '../audit/record.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { Store } from '../store/store.ts';

export interface Denial {
  readonly actor: Actor;
  readonly code: string;
  readonly route: string;
  /** empty when it was not a matter of permissions */
  readonly permission: string;
  readonly requestId: string;
}

const COLLAPSE_MS = 60_000;
const MAX_SOURCES = 1_000;

export class AccessDenials {
  readonly #parts: { readonly store: Store; readonly trail: AuditTrail; readonly log: Logger };
  readonly #sources = new Map<string, { denial: Denial; count: number; readonly timer: NodeJS.Timeout }>();
  #writing: Promise<void> = Promise.resolve();

  constructor(parts: { readonly store: Store; readonly trail: AuditTrail; readonly log: Logger }) {
    this.#parts = parts;
  }

  add(denial: Denial): void {
    const source = [denial.actor.id, denial.actor.address, denial.code, denial.permission].join('\n');
    const known = this.#sources.get(source);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    // more sources than that at once are an attack; the log of requests still shows them
    if (this.#sources.size >= MAX_SOURCES) return;
    const timer = setTimeout(() => this.#close(source), COLLAPSE_MS);
    timer.unref();
    this.#sources.set(source, { denial, count: 0, timer });
    this.#write(denial, 1);
  }

  #close(source: string): void {
    const found = this.#sources.get(source);
    if (found === undefined) return;
    clearTimeout(found.timer);
    this.#sources.delete(source);
    if (found.count > 0) this.#write(found.denial, found.count);
  }

  #write({ actor, code, route, permission, requestId }: Denial, count: number): void {
    const { store, trail, log } = this.#parts;
    const write = store.transaction((tx) =>
      trail.record(tx, { actor, event: 'access.denied', outcome: 'denied', requestId, data: { code, route, permission, count } }),
    );
    this.#writing = Promise.all([this.#writing, write]).then(
      () => undefined,
      (thrown: unknown) => log.error('a denied request could not be recorded', { error: messageOf(thrown) }),
    );
  }

  /** Writes what still waits. */
  async stop(): Promise<void> {
    for (const source of [...this.#sources.keys()]) this.#close(source);
    await this.#writing;
  }
}
