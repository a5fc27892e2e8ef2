/** What a hub keeps of a spoke. */

export const SITE_STATES = ['joining', 'active', 'draining', 'drained', 'evacuated', 'removed'] as const;

/** A spoke as its hub keeps it. Texts are empty and times 0 before there is any. */
export interface SiteRow {
  readonly id: string;
  /** who describes it: server.yaml, or `spoke add` */
  readonly source: 'settings' | 'database';
  /** host:port that agents dial */
  readonly addr: string;
  readonly apiUrl: string;
  readonly fallback: readonly string[];
  readonly patterns: readonly string[];
  readonly weight: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: (typeof SITE_STATES)[number];
  readonly createdAt: number;
  readonly stateAt: number;
  /** of the site's signing authority; grows when another server takes it over */
  readonly epoch: number;
  readonly serverId: string;
  /** raw 32 bytes, base64 */
  readonly serverKey: string;
  /** JSON list of the signed delegations that have not run out, newest first */
  readonly delegation: string;
  /** PEM of the intermediate CA */
  readonly ca: string;
  /** the newest join token: SHA-256 of its secret, when it was spent, and what was answered */
  readonly join: { readonly hash: string; readonly expiresAt: number; readonly spentAt: number; readonly answer: string };
  readonly lastSeen: number;
}

export interface SiteStore {
  /** makes or replaces it */
  put(row: SiteRow): Promise<void>;
  byId(id: string): Promise<SiteRow | undefined>;
  /** oldest first */
  list(): Promise<readonly SiteRow[]>;
  /** false when there is none */
  update(id: string, change: Partial<Omit<SiteRow, 'id'>>): Promise<boolean>;
  /** Exactly one caller ever gets true for one token. */
  spendJoin(id: string, hash: string, answer: string, at: number): Promise<boolean>;
}
