/** Publishing (config.md §11): a copy of the stage is checked, written as a release, swapped in, announced and recorded; one at a time. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import type { Problem } from '../../core/base/problem.ts';
import type { Manifest, ManifestFile } from '../../core/config/manifest.ts';
import { hasErrors, lowerDangerous } from '../../core/config/validate.ts';
import { type ProtectedSet, protect } from '../../core/policy/protected.ts';
import { ConfigThread, diskError } from './config-thread.ts';
import { missingSecrets, unmatchedFinding } from './findings.ts';
import { compareFiles, type FileChanges, historyRow } from './history.ts';
import { LiveLink } from './live.ts';
import { type LiveRelease, versionText, workName } from './live-release.ts';
import type { CompiledTree, Impact } from './messages.ts';
import { FROM_HUB, type PublisherParts, type PublishOutcome, type PublishRequest, type ReceivedRelease } from './publisher-parts.ts';
import { ReleaseLoader } from './release-loader.ts';
import { ReleaseFolder, removeRelease, type StoredRelease, treeSources } from './releases.ts';
import { removeTree } from './stage.ts';
import { startUp } from './start-up.ts';

/** What is to become a release. */
interface Proposal {
  readonly directory: string;
  /** a rollback: the release whose tree it is */
  readonly of?: StoredRelease | undefined;
  readonly problems: readonly Problem[];
  readonly root: string;
  readonly files: readonly ManifestFile[];
}

type Seen = Pick<PublishOutcome, 'files' | 'impact' | 'findings'>;

const NO_IMPACT: Impact = { envoys: 0, entries: 0, unmatched: [], lines: [] };
const NO_FILES: FileChanges = { added: [], changed: [], removed: [] };

export class Publisher {
  readonly thread = new ConfigThread();
  readonly folder: ReleaseFolder;
  readonly #parts: PublisherParts;
  readonly #link: LiveLink;
  readonly #loader: ReleaseLoader;
  #live: LiveRelease | undefined;
  #lastError: string | undefined;
  /** who publishes now */
  #holder: string | undefined;
  #running: Promise<void> | undefined;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.folder = new ReleaseFolder(parts.paths.releases, parts.authority);
    this.#link = new LiveLink(parts.paths.live);
    const { clock, secrets, store } = parts;
    this.#loader = new ReleaseLoader({
      thread: this.thread,
      clock,
      secrets,
      counters: () => store.counters,
      protectedSet: this.#protectedSet(),
    });
  }

  #protectedSet(): ProtectedSet {
    return protect({ paths: [this.#parts.paths.root], servers: (this.#parts.serverNames ?? []).map((name) => name.toLowerCase()) });
  }

  get live(): LiveRelease | undefined {
    return this.#live;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  liveName(): Promise<string | undefined> {
    return this.#link.read();
  }

  /** Cleans up after a crash, verifies and loads the live release, or the newest that verifies. */
  async start(): Promise<LiveRelease | undefined> {
    const { release, error } = await startUp({ ...this.#parts, folder: this.folder, link: this.#link, loader: this.#loader });
    this.#lastError = error;
    if (release !== undefined) {
      await this.#parts.onRelease(release);
      this.#live = release;
    }
    return release;
  }

  async stop(): Promise<void> {
    await this.thread.stop();
  }

  async #alone<T>(holder: string, work: () => Promise<T>): Promise<T> {
    if (this.#holder !== undefined) throw new CodedError('PUBLISH_BUSY', `another publish is running, started by ${this.#holder}`);
    this.#holder = holder;
    let done: () => void = () => undefined;
    this.#running = new Promise((resolve) => {
      done = resolve;
    });
    try {
      return await work();
    } catch (thrown) {
      throw diskError(thrown);
    } finally {
      this.#holder = undefined;
      this.#running = undefined;
      done();
    }
  }

  async #whenFree<T>(holder: string, work: () => Promise<T>): Promise<T> {
    while (this.#running !== undefined) await this.#running;
    return this.#alone(holder, work);
  }

  /** A private copy of the stage, gone again when `work` ends. */
  async #withStage<T>(work: (proposal: Proposal) => Promise<T>): Promise<T> {
    const { paths } = this.#parts;
    const base = join(paths.temp, workName(randomUUID()));
    const directory = join(base, 'tree');
    try {
      const { root, files, problems } = await this.thread.ask('stage', { from: paths.stage, to: directory });
      await this.#parts.onStep?.('copied');
      return await work({ directory, problems, root, files });
    } finally {
      await removeTree(base);
    }
  }

  /** The findings of the stage as it is now. */
  validate(): Promise<{ readonly root: string; readonly findings: readonly Problem[] }> {
    return this.#withStage(async (proposal) => ({ root: proposal.root, findings: (await this.#check(proposal, {})).findings })).catch(
      (thrown: unknown) => {
        throw diskError(thrown);
      },
    );
  }

  async #check(
    proposal: Proposal,
    options: Pick<PublishRequest, 'dangerous'>,
  ): Promise<{ readonly tree: CompiledTree; readonly findings: readonly Problem[] }> {
    const tree = await this.#loader.compile({ directory: proposal.directory, manifest: proposal.of?.manifest });
    const all = [...proposal.problems, ...tree.problems, ...(await missingSecrets(this.#parts.secrets, tree))];
    return { tree, findings: options.dangerous === true ? lowerDangerous(all) : all };
  }

  /** A spoke has one source of releases, its hub. */
  #assertOwn(): void {
    const { hub } = this.#parts;
    if (hub === undefined) return;
    throw new CodedError('ASK_HUB', `this server is a spoke: publish on the hub ${hub}`, {
      hint: `on the hub itself, or: vigocli --server https://${hub.slice(0, hub.lastIndexOf(':'))}:8443 (its REST address)`,
      details: { hub },
    });
  }

  async publish(request: PublishRequest): Promise<PublishOutcome> {
    this.#assertOwn();
    return this.#alone(request.author, async () => {
      if (request.dryRun !== true) await this.#parts.gates?.freeze?.('publish');
      return this.#withStage(async (proposal) => {
        if (request.root !== undefined && !proposal.root.startsWith(request.root))
          throw new CodedError('STAGE_CHANGED', `the stage has the root ${proposal.root.slice(0, 12)}, not ${request.root.slice(0, 12)}`);
        return this.#propose(proposal, request);
      });
    });
  }

  /** Publishes the tree of an earlier release again, by default of the one before live, under a new number. */
  async rollback(request: PublishRequest & { readonly number?: number | undefined }): Promise<PublishOutcome> {
    this.#assertOwn();
    return this.#alone(request.author, async () => {
      const number = request.number ?? (await this.#parts.store.releases.list(1, this.#live?.number))[0]?.number;
      const directory = number === undefined ? undefined : await this.folder.byNumber(number);
      if (directory === undefined)
        throw new CodedError('NOT_FOUND', number === undefined ? 'there is no earlier release' : `there is no release ${number}`);
      const of = await this.folder.open(directory);
      await this.#parts.gates?.freeze?.('rollback');
      const tree = join(of.path, 'tree');
      const faults = await this.thread.ask('verifyFiles', { directory: tree, manifest: of.manifest });
      if (faults.length > 0) throw new CodedError('RELEASE_INVALID', `release ${of.name} does not verify: ${faults[0]}`);
      return this.#propose({ directory: tree, of, problems: [], root: of.manifest.root, files: of.manifest.files }, request);
    });
  }

  async #propose(proposal: Proposal, request: PublishRequest): Promise<PublishOutcome> {
    const { root } = proposal;
    if (root === this.#live?.root) return { status: 'nothing', root, findings: [], files: NO_FILES, impact: NO_IMPACT };
    const { tree, findings: found } = await this.#check(proposal, request);
    await this.#parts.onStep?.('validated');
    const files = compareFiles(this.#live?.stored.manifest.files ?? [], proposal.files);
    const strictly = request.strict === true && found.some(({ severity }) => severity === 'warning');
    if (hasErrors(found) || strictly) {
      await this.#refused(request, root, found);
      return { status: 'refused', root, findings: found, files, impact: NO_IMPACT };
    }
    const impact = await this.thread.ask('impact', { before: this.#live?.root, after: root, hostnames: [...this.#parts.hostnames()] });
    await this.#parts.onStep?.('compared');
    const findings = [...found, ...unmatchedFinding(impact)];
    if (request.dryRun === true) return { status: 'dry_run', root, findings, files, impact };
    const verdict =
      proposal.of === undefined
        ? await this.#parts.gates?.approval?.({ root, author: request.author, directory: proposal.directory })
        : 'go';
    if (verdict === 'pending') return { status: 'pending', root, findings, files, impact };
    const release = await this.#goLive(proposal, tree, request, { files, impact, findings });
    return { status: 'live', root, findings, files, impact, release };
  }

  async #refused(request: PublishRequest, root: string, findings: readonly Problem[]): Promise<void> {
    const errors = findings.filter(({ severity }) => severity === 'error').length;
    await this.#parts.store.transaction((tx) =>
      this.#parts.trail.record(tx, {
        actor: request.actor,
        event: 'config.validated',
        target: { kind: 'root', id: root },
        outcome: 'failed',
        requestId: request.requestId,
        data: { errors, findings: findings.length },
      }),
    );
  }

  async #manifest(proposal: Proposal, request: PublishRequest): Promise<Manifest> {
    const { store, clock, authority } = this.#parts;
    const highest = Math.max((await this.folder.list())[0]?.number ?? 0, (await store.releases.list(1))[0]?.number ?? 0);
    const number = await store.counters.next('release', highest + 1);
    await this.#parts.onStep?.('numbered');
    const now = clock.now();
    return {
      number,
      version: versionText(now),
      fleet_id: authority.fleetId,
      epoch: authority.epoch,
      author: request.author,
      approver: null,
      message: request.message ?? '',
      created_at: new Date(now).toISOString(),
      parent: this.#live?.root ?? null,
      rollback_of: proposal.of?.manifest.number ?? null,
      dangerous: request.dangerous === true,
      break_glass: false,
      root: proposal.root,
      files: [...proposal.files],
    };
  }

  /** Steps 11 to 15. Until the rename of `live`, every failure leaves what was. */
  async #goLive(proposal: Proposal, tree: CompiledTree, request: PublishRequest, seen: Seen): Promise<LiveRelease> {
    const before = this.#live;
    const manifest = await this.#manifest(proposal, request);
    const stored = await this.folder.write(manifest, treeSources(proposal.directory, proposal.of ?? before?.stored));
    const release = await this.#enter(stored, request, { requireSecrets: false, seen: async () => seen });
    this.#parts.event?.('config.published', {
      number: release.number,
      root: release.root,
      author: request.author,
      entries: tree.entries.length,
    });
    this.#parts.gates?.watch?.(before, release);
    return release;
  }

  /**
   * A spoke: makes a release live that its hub has signed and that was fetched, checked and found newer (receive.ts). Waits for the secrets poll.
   * @throws CodedError SECRET_MISSING when a reference cannot be resolved here, RELEASE_INVALID; what was live stays
   */
  take({ manifest, signature, sources }: ReceivedRelease): Promise<LiveRelease> {
    return this.#whenFree('the hub', async () => {
      const before = this.#live;
      const damaged = await this.folder.byNumber(manifest.number);
      if (damaged !== undefined) await removeRelease(damaged.path);
      const stored = await this.folder.write(manifest, sources, signature);
      return this.#enter(stored, FROM_HUB, {
        requireSecrets: true,
        seen: async (release) => ({
          files: compareFiles(before?.stored.manifest.files ?? [], manifest.files),
          impact: await this.thread.ask('impact', { before: before?.root, after: release.root, hostnames: [...this.#parts.hostnames()] }),
          findings: [],
        }),
      });
    });
  }

  /** A written release is loaded, swapped in and recorded, or removed again. */
  async #enter(
    stored: StoredRelease,
    request: PublishRequest,
    how: { readonly requireSecrets: boolean; seen(release: LiveRelease): Promise<Seen> },
  ): Promise<LiveRelease> {
    const { onStep } = this.#parts;
    const before = this.#live;
    try {
      await onStep?.('written');
      const release = await this.#loadWritten(stored, how.requireSecrets);
      const seen = await how.seen(release);
      await onStep?.('loaded');
      await this.#swap(release, before);
      await onStep?.('announced');
      await this.#record(release, request, seen);
      await onStep?.('recorded');
      await this.#prune();
      return release;
    } catch (thrown) {
      if (this.#live?.number !== stored.number) await removeRelease(stored.path);
      throw thrown;
    }
  }

  async #loadWritten(stored: StoredRelease, requireSecrets: boolean): Promise<LiveRelease> {
    try {
      return await this.#loader.load(stored, requireSecrets);
    } catch (thrown) {
      this.#parts.event?.('config.reload_failed', { number: stored.number, error: messageOf(thrown) });
      throw thrown;
    }
  }

  async #swap(release: LiveRelease, before: LiveRelease | undefined): Promise<void> {
    await this.#link.pointTo(release.stored.name);
    await this.#parts.onStep?.('swapped');
    try {
      await this.#parts.onRelease(release);
    } catch (thrown) {
      if (before === undefined) await this.#link.remove();
      else await this.#link.pointTo(before.stored.name);
      this.#parts.event?.('config.reload_failed', { number: release.number, error: messageOf(thrown) });
      throw thrown;
    }
    this.#live = release;
    this.#lastError = undefined;
  }

  async #record(release: LiveRelease, request: PublishRequest, seen: Seen): Promise<void> {
    const { manifest } = release.stored;
    const warnings = seen.findings.filter(({ severity }) => severity === 'warning').length;
    const row = historyRow(manifest, {
      files: seen.files,
      entriesAffected: seen.impact.entries,
      envoysAffected: seen.impact.envoys,
      warnings,
      skippedUrlCheck: request.skipUrlCheck === true,
    });
    await this.#parts.store.transaction(async (tx) => {
      // a spoke that fetched a damaged release again has its row already
      if ((await tx.releases.byNumber(row.number)) === undefined) await tx.releases.add(row);
      await tx.counters.raise('release', row.number);
      await tx.counters.raise('release_epoch', manifest.epoch);
      await tx.releases.makeLive(row.number);
      await this.#parts.trail.record(tx, {
        actor: request.actor,
        event: manifest.rollback_of === null ? 'config.published' : 'config.rolled_back',
        target: { kind: 'release', id: String(row.number), name: row.root.slice(0, 12) },
        outcome: 'ok',
        requestId: request.requestId,
        data: {
          author: row.author,
          message: row.message,
          rollback_of: manifest.rollback_of,
          dangerous: manifest.dangerous,
          skip_url_check: request.skipUrlCheck === true,
          warnings,
        },
      });
    });
  }

  /** Keeps the newest `keepReleases`, everything younger than `keepDays`, and what is live. */
  async #prune(): Promise<void> {
    const { keepReleases = 50, keepDays = 90, clock, log } = this.#parts;
    const oldest = clock.now() - keepDays * 86_400_000;
    for (const directory of (await this.folder.list()).slice(keepReleases)) {
      const row = await this.#parts.store.releases.byNumber(directory.number);
      if (directory.number === this.#live?.number || (row !== undefined && row.createdAt >= oldest)) continue;
      await removeRelease(directory.path);
      log.info('old release removed', { release: directory.number });
    }
  }

  /**
   * Versions of secrets may have changed: entries whose references did get a new epoch and body under the same release.
   * Waits for a running publish. Answers the entries that changed.
   */
  async refreshSecrets(): Promise<readonly string[]> {
    return this.#whenFree('the secrets poll', async () => {
      const live = this.#live;
      if (live === undefined) return [];
      const entries = [...live.entries.values()].map(({ entry, secretRefs }) => ({ id: entry, secretRefs }));
      const epochs = await this.#loader.epochs(entries, false);
      const changed = entries.map(({ id }) => id).filter((id) => (epochs[id] ?? 0) !== live.entries.get(id)?.secretsEpoch);
      if (changed.length === 0) return changed;
      const release = await this.#loader.load(live.stored, false);
      await this.#parts.onRelease(release);
      this.#live = release;
      this.#parts.event?.('secret.rotated', { entries: changed.length });
      return changed;
    });
  }
}
