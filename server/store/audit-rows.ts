/** The audit log as the store keeps it. */
export interface AuditRow {
  readonly seq: number;
  readonly time: number;
  readonly event: string;
  readonly actor: string;
  readonly target: string;
  /** canonical JSON, the bytes that are hashed */
  readonly record: string;
}

export interface AuditHead {
  readonly size: number;
  /** roots of the perfect subtrees, largest first */
  readonly frontier: readonly Uint8Array[];
}

export interface AuditFilter {
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  /** exact, or a prefix that ends in `.` */
  readonly event?: string | undefined;
  readonly actor?: string | undefined;
  readonly target?: string | undefined;
  readonly before?: number | undefined;
}

export interface AuditStore {
  /** Inside a transaction it holds all other writers of the log back until the end. */
  head(): Promise<AuditHead>;
  /** @throws AUDIT_BROKEN when the row is not the next one */
  append(row: AuditRow, head: AuditHead): Promise<void>;
  /** in order of seq, in pages */
  read(fromSeq: number, untilSeq?: number): AsyncIterable<AuditRow>;
  /** newest first */
  list(filter: AuditFilter, limit: number): Promise<readonly AuditRow[]>;
  count(): Promise<number>;
}

export interface CheckpointRow {
  readonly size: number;
  readonly time: number;
  /** the signed note, as text */
  readonly note: string;
  /** of the tree at that size: where a check of the newest records begins */
  readonly frontier: readonly Uint8Array[];
}

export interface CheckpointStore {
  add(row: CheckpointRow): Promise<void>;
  /** the newest, or the newest of at most this size */
  newest(atMost?: number): Promise<CheckpointRow | undefined>;
  /** by size, from the smallest not below `fromSize` */
  list(fromSize: number, limit: number): Promise<readonly CheckpointRow[]>;
}
