/** Writes audit records in the transaction of the change they record: a change that cannot be recorded does not happen. */
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { appendLeaf, isFrontier, leafHash } from '../../core/crypto/merkle-log.ts';
import type { Tables } from '../store/store.ts';
import { type AuditEvent, recordText } from './record.ts';

export interface AuditTrail {
  /** Inside `store.transaction`, last before its end: other writers of the log wait from here on. @throws AUDIT_BROKEN */
  record(tx: Pick<Tables, 'audit'>, event: AuditEvent): Promise<number>;
  /** refuse every further change until an admin acknowledges */
  block(reason: string): void;
  unblock(): void;
  readonly blockedBy: string | undefined;
}

export function createTrail(parts: {
  readonly clock: Pick<Clock, 'now'>;
  readonly site: string;
  readonly epoch: () => number;
  /** called after each record, still inside the transaction */
  readonly onRecord?: ((seq: number, event: AuditEvent) => void) | undefined;
}): AuditTrail {
  let blockedBy: string | undefined;
  return {
    get blockedBy() {
      return blockedBy;
    },
    block(reason) {
      blockedBy ??= reason;
    },
    unblock() {
      blockedBy = undefined;
    },
    async record(tx, event) {
      // the acknowledgement itself must be recordable
      if (blockedBy !== undefined && event.event !== 'audit.acknowledged') {
        throw new CodedError('AUDIT_BROKEN', `the audit log does not verify: ${blockedBy}`, {
          hint: 'look into it, then vigocli audit verify --acknowledge',
        });
      }
      const head = await tx.audit.head();
      const frontier = { size: head.size, roots: head.frontier };
      if (!isFrontier(frontier)) throw new CodedError('AUDIT_BROKEN', `the head of the audit tree does not fit its size ${head.size}`);
      const seq = head.size;
      const time = parts.clock.now();
      const record = recordText(event, { seq, time, site: parts.site, epoch: parts.epoch() });
      const next = appendLeaf(frontier, leafHash(Buffer.from(record, 'utf8')));
      const target = event.target?.id ?? '';
      await tx.audit.append(
        { seq, time, event: event.event, actor: event.actor.name, target, record },
        { size: next.size, frontier: next.roots },
      );
      parts.onRecord?.(seq, event);
      return seq;
    },
  };
}
