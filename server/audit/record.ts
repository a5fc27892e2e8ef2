/** What an audit record says (server.md §12.5), and who writes it. */
import type { JsonObject } from '../../core/base/json.ts';
import type { Tables } from '../store/store.ts';

export interface Actor {
  readonly kind: 'user' | 'token' | 'local' | 'envoy' | 'schedule' | 'system' | 'peer' | 'spoke';
  readonly id: string;
  readonly name: string;
  readonly address?: string | undefined;
  readonly claimed_by?: string | undefined;
}

export const SYSTEM_ACTOR: Actor = { kind: 'system', id: 'system', name: 'system' };

export interface AuditEntry {
  readonly actor: Actor;
  readonly event: string;
  readonly target?: { readonly kind: string; readonly id: string; readonly name: string } | undefined;
  readonly outcome: 'ok' | 'denied' | 'failed';
  readonly request_id?: string | undefined;
  readonly data?: JsonObject | undefined;
}

/** Writes a record in the transaction of the change it records: a change that cannot be recorded does not happen. */
export interface AuditTrail {
  record(tx: Tables, entry: AuditEntry): Promise<void>;
}
