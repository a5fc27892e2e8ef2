/** An enrolled agent, put together from its parts; the daemon, `--once` and `run` drive it. */
import { join } from 'node:path';
import type { Clock } from '../core/base/clock.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import { newId } from '../core/base/ids.ts';
import type { Logger } from '../core/base/log.ts';
import { Redactor } from '../core/base/redaction.ts';
import { VERSION } from '../core/base/version.ts';
import type { RunReport } from '../core/policy/outcome.ts';
import type { Traits } from '../core/traits/delta.ts';
import { abortedRun } from './aborted-run.ts';
import { type CheckInParts, checkIn, heldIsStale } from './check-in.ts';
import { converge } from './converge/converge.ts';
import type { RunTrace } from './converge/run-parts.ts';
import { type AgentIdentity, openIdentity } from './enroll/identity.ts';
import { certificateHasEnded, certificateIsDue, renewCertificate } from './enroll/renew.ts';
import { finishSuccession, followSuccession, type NewFleet, showsForeignRoot } from './enroll/succession.ts';
import { GrpcLink } from './link/grpc-link.ts';
import { Home } from './link/home.ts';
import { Sequence } from './link/sequence.ts';
import { TrustStore } from './link/trust.ts';
import { heldAuthority } from './policy-intake.ts';
import { protectedSetOf } from './protected-set.ts';
import { ResultSender } from './result-sender.ts';
import { SecretSource } from './secret-source.ts';
import type { AgentSettings } from './settings.ts';
import { openStateStore } from './state/lmdb-state-store.ts';
import { SnapshotStore } from './state/snapshots.ts';
import type { StateStore } from './state/state-store.ts';
import { LocalSystem } from './system/local-system.ts';
import { type Machine, openMachine } from './system/machine.ts';
import { createTraitSource, type TraitSource } from './traits/collect.ts';
import { COLLECTORS } from './traits/index.ts';

export interface CycleOptions {
  readonly signal: AbortSignal;
  /** false: enforce the held policy and talk to nobody */
  readonly talk: boolean;
  readonly module?: string | undefined;
  readonly dryRun?: boolean | undefined;
  readonly trace?: RunTrace | undefined;
  /** somebody else wants the machine: start nothing new */
  readonly shouldYield?: (() => Promise<boolean>) | undefined;
}

export interface CycleResult {
  /** why the server could not be used, if it could not */
  readonly problem: CodedError | undefined;
  /** undefined: nothing is held, nothing was enforced */
  readonly report: RunReport | undefined;
  /** the server asked to wait this long */
  readonly waitMs: number | undefined;
}

export class Agent {
  readonly settings: AgentSettings;
  readonly state: StateStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #redactor: Redactor;
  readonly #traits: TraitSource;
  readonly #results: ResultSender;
  readonly #sequence: Sequence;
  #moved: NewFleet | undefined;
  #identity: AgentIdentity;
  #trust: TrustStore;
  #home: Home;
  #link: GrpcLink;
  #secrets: SecretSource;
  #opened: Promise<Machine> | undefined;
  /** a server showed a certificate of another root */
  #foreign = false;
  #header: { readonly hash: string; readonly at: number } | undefined;

  constructor(parts: { readonly settings: AgentSettings; readonly clock: Clock; readonly log: Logger; readonly redactor?: Redactor }) {
    const { settings } = parts;
    this.settings = settings;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#moved = finishSuccession(settings.configDir);
    this.#redactor = parts.redactor ?? new Redactor();
    this.#identity = this.#openIdentity();
    this.state = openStateStore(join(settings.stateDir, 'state'));
    this.#sequence = new Sequence(this.state.facts, parts.clock.now());
    this.#traits = createTraitSource({
      collectors: COLLECTORS,
      clock: parts.clock,
      log: parts.log,
      refreshCycles: settings.trait_refresh_cycles,
    });
    this.#results = new ResultSender(this.state, settings.result_cache_cycles);
    this.#trust = this.#openTrust();
    this.#home = this.#openHome();
    this.#link = this.#openLink();
    this.#secrets = this.#openSecrets();
  }

  get intervalMs(): number {
    return this.state.facts.get('nextMs') ?? 60_000;
  }

  get jitterPct(): number {
    return this.state.facts.get('jitterPct') ?? 10;
  }

  #openIdentity(): AgentIdentity {
    const { settings } = this;
    return openIdentity(settings.configDir, {
      fleetId: this.#moved?.fleetId ?? settings.fleet_id,
      siteId: this.#moved?.siteId ?? settings.site_id,
      ownerEpoch: settings.owner_epoch,
      hostname: settings.hostname ?? '',
    });
  }

  #openTrust(): TrustStore {
    return new TrustStore({ rootPublicKey: this.#identity.rootPublicKey, fleetId: this.#identity.fleetId, facts: this.state.facts });
  }

  #openHome(): Home {
    return new Home({ enrolled: this.#identity, configured: this.settings, trust: this.#trust, state: this.state, log: this.#log });
  }

  #openLink(): GrpcLink {
    return new GrpcLink({
      identity: this.#identity,
      trust: this.#trust,
      sequence: this.#sequence,
      clock: this.#clock,
      version: VERSION,
      home: this.#home,
    });
  }

  #openSecrets(): SecretSource {
    return new SecretSource({ identity: this.#identity, state: this.state, redactor: this.#redactor, log: this.#log });
  }

  #checkInParts(): CheckInParts {
    return {
      identity: this.#identity,
      trust: this.#trust,
      state: this.state,
      clock: this.#clock,
      log: this.#log,
      link: this.#link,
      dryRun: this.settings.dry_run,
      headerAgeMs: () => this.#headerAge(),
    };
  }

  /** Monotonic time since this process took the held header; one from before counts from now. */
  #headerAge(): number {
    const hash = this.state.policy.held()?.headerHash ?? '';
    if (this.#header?.hash !== hash) this.#header = { hash, at: this.#clock.monotonic() };
    return this.#clock.monotonic() - this.#header.at;
  }

  /** Traits, conversation, convergence, report. The held policy is enforced whatever the server says. */
  async cycle(options: CycleOptions): Promise<CycleResult> {
    const traits = await this.#collect(options.signal);
    const { problem, waitMs } = options.talk ? await this.#converse(traits, options.signal) : { problem: undefined, waitMs: undefined };
    const online = options.talk && problem === undefined;
    const report = await this.#converge(traits, online, options);
    if (report !== undefined) await this.#deliver(report, online, options.signal);
    return { problem, report, waitMs };
  }

  /** Its backends are chosen once. */
  #machine(): Promise<Machine> {
    this.#opened ??= openMachine(
      new LocalSystem(process.getuid?.() === 0 ? {} : { privateFolder: join(this.settings.stateDir, 'run', 'private') }),
    );
    return this.#opened;
  }

  async #collect(signal: AbortSignal): Promise<Traits> {
    const environment = this.state.policy.held()?.body?.body.environment ?? undefined;
    const machine = await this.#machine();
    const envoy = { id: this.#identity.envoyId, hostname: this.#identity.hostname, environment };
    return this.#traits.collect({ system: machine.system, platform: machine.platform, envoy, signal });
  }

  async #converse(
    traits: Traits,
    signal: AbortSignal,
  ): Promise<{ readonly problem: CodedError | undefined; readonly waitMs: number | undefined }> {
    const { facts } = this.state;
    this.#home.beginCycle();
    try {
      await this.#reportAborted();
      if (this.#foreign) await this.#lookForSuccession(signal);
      if (certificateIsDue(this.#identity, this.#now())) await this.#renew(signal);
      await this.#results.drain(this.#link, signal);
      const reply = await checkIn(this.#checkInParts(), traits, signal);
      if (facts.get('revoked') === true) await facts.set('revoked', false);
      return { problem: undefined, waitMs: reply.kind === 'wait' ? reply.retryAfterMs : undefined };
    } catch (thrown) {
      const problem = thrown instanceof CodedError ? thrown : new CodedError('INTERNAL', messageOf(thrown), { cause: thrown });
      await this.#remember(problem);
      return { problem, waitMs: problem.retryAfterSeconds === undefined ? undefined : problem.retryAfterSeconds * 1000 };
    }
  }

  /** Whether the root that a server shows succeeds ours; if so, this envoy belongs to the new fleet from here on. */
  async #lookForSuccession(signal: AbortSignal): Promise<void> {
    this.#foreign = false;
    const moved = await followSuccession(this.#identity, this.settings.configDir, this.#home.apiUrl, signal);
    if (moved === undefined) return;
    this.#moved = moved;
    this.#reopen();
    this.#log.warn('the fleet of this envoy was succeeded by another', { fleet_id: moved.fleetId, site_id: moved.siteId });
  }

  async #remember(problem: CodedError): Promise<void> {
    const { facts } = this.state;
    // the next cycle looks whether the root it shows succeeds ours
    this.#foreign = showsForeignRoot(problem);
    if (problem.code === 'BUNDLE_REJECTED') {
      this.#log.error('the answer of the server was refused, the held policy stays', { code: problem.code, reason: problem.message });
      await this.#unlessFull(() => facts.set('bundleRejected', problem.message));
    } else if (problem.code === 'REVOKED' && this.#trust.isSignedRevocation(problem, this.#identity.envoyId)) {
      this.#log.error('this envoy is revoked: secrets are forgotten, what needs none goes on', { code: problem.code });
      await this.#secrets.forget();
      await facts.set('revoked', true);
    } else if (problem.code === 'STORE_FULL') {
      this.#log.error('the state store is full: no new policy is taken, the held one is enforced', {
        code: problem.code,
        error: problem.message,
        hint: problem.hint,
      });
    } else {
      this.#log.warn('the server could not be used', { code: problem.code, error: problem.message });
    }
  }

  /** The time as the server sees it. */
  #now(): number {
    return this.#clock.now() + this.#link.clockOffsetMs;
  }

  /** Until the certificate has ended a renewal that fails is tried again in the next cycle, and nothing else waits for it. */
  async #renew(signal: AbortSignal): Promise<void> {
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.#renewOnce(signal);
        } catch (thrown) {
          if (!(thrown instanceof CodedError) || attempt >= 4 || !(this.#link.canRetry(thrown) || (await this.#home.follow(thrown))))
            throw thrown;
        }
      }
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || certificateHasEnded(this.#identity, this.#now())) throw thrown;
      this.#log.warn('the certificate could not be renewed yet', { code: thrown.code, error: thrown.message });
    }
  }

  async #renewOnce(signal: AbortSignal): Promise<void> {
    await renewCertificate({
      identity: this.#identity,
      configDir: this.settings.configDir,
      home: this.#home,
      sequence: this.#sequence,
      clock: this.#clock,
      offsetMs: this.#link.clockOffsetMs,
      signal,
    });
    this.#reopen();
    this.#log.info('the certificate was renewed', {});
  }

  /** With the keys and certificates that lie in the config directory now. */
  #reopen(): void {
    const { clockOffsetMs } = this.#link;
    this.#link.close();
    this.#identity = this.#openIdentity();
    this.#trust = this.#openTrust();
    this.#home = this.#openHome();
    this.#link = this.#openLink();
    this.#link.clockOffsetMs = clockOffsetMs;
    this.#secrets = this.#openSecrets();
  }

  /** A run that started and never reported: the process was killed in it. */
  async #reportAborted(): Promise<void> {
    const open = this.state.facts.get('openRun');
    const held = this.state.policy.held();
    if (open === undefined || open === null || held?.body === undefined) return;
    await this.#results.keep(abortedRun(open, held.header, held.body));
    await this.state.facts.set('openRun', null);
  }

  #flags(): RunReport['flags'] {
    const { facts } = this.state;
    const flags: [RunReport['flags'][number], boolean][] = [
      ['stale_bundle', heldIsStale({ state: this.state, clock: this.#clock, headerAgeMs: () => this.#headerAge() })],
      ['no_policy', (facts.get('noPolicy') ?? '') !== ''],
      ['clock_skew', (facts.get('clockSkewMs') ?? 0) !== 0],
    ];
    return flags.filter(([, on]) => on).map(([name]) => name);
  }

  async #converge(traits: Traits, online: boolean, options: CycleOptions): Promise<RunReport | undefined> {
    const held = this.state.policy.held();
    if (held?.body === undefined) return undefined;
    const flags = this.#flags();
    if (flags.includes('stale_bundle') && heldAuthority(this.state)?.offline_policy === 'stop') {
      this.#log.warn('the held policy is past its life and checkin.offline_policy is stop: nothing is enforced', {});
      return undefined;
    }
    const runId = newId(this.#clock.now());
    const dryRun = options.dryRun === true || this.settings.dry_run;
    const mode = dryRun ? 'dry_run' : held.header.observe ? 'observe' : 'enforce';
    const { body } = held.body;
    const { sha256, policyHash } = held.body;
    await this.#unlessFull(() => this.state.facts.set('openRun', { runId, startedAt: this.#clock.now(), mode }));
    const { report, pendingTriggers, traitsChanged } = await converge(
      {
        machine: await this.#machine(),
        clock: this.#clock,
        log: this.#log,
        redactor: this.#redactor,
        memory: this.state.memory,
        snapshots: await this.#snapshots(),
        trace: options.trace,
        protectedSet: protectedSetOf(this.settings, this.#home.servers),
      },
      {
        runId,
        body,
        bodyHash: sha256,
        header: held.header,
        envoy: { id: this.#identity.envoyId, hostname: this.#identity.hostname },
        traits,
        mode,
        module: options.module,
        triggers: this.state.triggers.pending(),
        secrets: (refs) =>
          this.#secrets.forRun(
            { bodySha256: sha256, secretsEpoch: body.secrets_epoch, refs, siteId: held.header.site_id },
            online ? this.#link : undefined,
            options.signal,
          ),
        flags,
        bundleRejected: this.state.facts.get('bundleRejected'),
        signal: options.signal,
        shouldYield: options.shouldYield,
      },
    );
    if (mode === 'enforce') await this.#unlessFull(() => this.state.triggers.keep(pendingTriggers));
    if (traitsChanged) this.#traits.expire();
    return {
      ...report,
      policy_hash: policyHash,
      secrets_epoch: body.secrets_epoch,
      dropped_results: this.state.facts.get('droppedResults') ?? 0,
    };
  }

  /** A full disk must not end enforcement: what could not be remembered is said, and the run goes on. */
  async #unlessFull(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'STORE_FULL') throw thrown;
      this.#log.error('the state store is full', { code: thrown.code, error: thrown.message, hint: thrown.hint });
    }
  }

  async #snapshots(): Promise<SnapshotStore> {
    const { settings } = this;
    const { system } = await this.#machine();
    return new SnapshotStore(system, {
      folder: settings.snapshot_dir ?? join(settings.stateDir, 'snapshots'),
      retention: settings.snapshot_retention,
    });
  }

  async #deliver(report: RunReport, online: boolean, signal: AbortSignal): Promise<void> {
    try {
      await this.#results.deliver(report, online ? this.#link : undefined, signal);
    } catch (thrown) {
      if (!(thrown instanceof CodedError)) throw thrown;
      this.#log.warn('the report stays queued', { code: thrown.code, error: thrown.message });
    }
    await this.#unlessFull(() => this.state.facts.set('openRun', null));
  }

  async close(): Promise<void> {
    this.#link.close();
    await this.state.close();
  }
}
