/** What publishing stands on and what it is asked. */
import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/base/log.ts';
import type { Problem } from '../../core/base/problem.ts';
import type { Manifest } from '../../core/config/manifest.ts';
import { type Actor, SYSTEM } from '../audit/record.ts';
import type { AuditTrail } from '../audit/trail.ts';
import type { DataPaths } from '../identity/paths.ts';
import type { SecretProvider } from '../secrets/provider.ts';
import type { Store } from '../store/store.ts';
import type { FileChanges } from './history.ts';
import type { LiveRelease } from './live-release.ts';
import type { ReleaseAuthority } from './manifest-signature.ts';
import type { Impact } from './messages.ts';
import type { FileSources } from './releases.ts';

export const PUBLISH_STEPS = [
  'copied',
  'validated',
  'compared',
  'numbered',
  'written',
  'loaded',
  'swapped',
  'announced',
  'recorded',
] as const;
export type PublishStep = (typeof PUBLISH_STEPS)[number];

/** Decisions that other parts make on the way (config.md §12); a gate stops a publish by throwing. */
export interface PublishGates {
  freeze?(kind: 'publish' | 'rollback'): Promise<void>;
  approval?(proposal: { readonly root: string; readonly author: string; readonly directory: string }): Promise<'go' | 'pending'>;
  watch?(before: LiveRelease | undefined, after: LiveRelease): void;
}

export interface PublisherParts {
  readonly paths: Pick<DataPaths, 'stage' | 'releases' | 'live' | 'temp' | 'root'>;
  readonly authority: ReleaseAuthority;
  readonly store: Store;
  readonly trail: AuditTrail;
  readonly secrets: SecretProvider;
  readonly clock: Clock;
  readonly log: Logger;
  /** the active envoys */
  hostnames(): Iterable<string>;
  /** Gets the release before anybody is told that it is live; a rejection takes the publish back. */
  onRelease(release: LiveRelease): Promise<void>;
  event?(
    name: 'config.published' | 'config.reload_failed' | 'config.tampered' | 'secret.rotated' | 'spoke.release_refused',
    data: Readonly<Record<string, unknown>>,
  ): void;
  readonly serverNames?: readonly string[] | undefined;
  readonly gates?: PublishGates | undefined;
  /** called after each step */
  onStep?(step: PublishStep): Promise<void> | void;
  /** a spoke: host:port of the hub, which alone publishes */
  readonly hub?: string | undefined;
  readonly keepReleases?: number | undefined;
  readonly keepDays?: number | undefined;
}

export interface PublishRequest {
  readonly author: string;
  readonly actor: Actor;
  readonly requestId?: string | undefined;
  readonly message?: string | undefined;
  readonly dryRun?: boolean | undefined;
  readonly dangerous?: boolean | undefined;
  readonly strict?: boolean | undefined;
  readonly skipUrlCheck?: boolean | undefined;
  /** prefix of the root hash that must still be the stage's */
  readonly root?: string | undefined;
}

/** A release that the hub signed, whole and checked. */
export interface ReceivedRelease {
  readonly manifest: Manifest;
  /** text of `manifest.sig` */
  readonly signature: string;
  readonly sources: FileSources;
}

/** Who brings a release to a spoke; its author is the manifest's. */
export const FROM_HUB: PublishRequest = { author: 'hub', actor: { ...SYSTEM, id: 'hub', name: 'hub' } };

export interface PublishOutcome {
  readonly status: 'live' | 'nothing' | 'dry_run' | 'pending' | 'refused';
  readonly root: string;
  readonly findings: readonly Problem[];
  readonly files: FileChanges;
  readonly impact: Impact;
  readonly release?: LiveRelease | undefined;
}
