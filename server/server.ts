/** Builds a server in the order of server.md §3 and stops it in reverse; each step logs its name and duration. */
import { join, resolve } from 'node:path';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/errors.ts';
import { type EnvoyId, idBytes } from '../core/base/ids.ts';
import type { Logger } from '../core/base/log.ts';
import type { Redactor } from '../core/base/redaction.ts';
import { newTicketKeys, type TlsIdentity } from '../core/crypto/tls.ts';
import { advertised, certificateNames } from './addresses.ts';
import { scopeOfCheck } from './audit/acknowledge.ts';
import { createCheckpointer, fileWitness } from './audit/checkpoint.ts';
import { createTrail } from './audit/trail.ts';
import { START_UP_LEAVES, verifyNewest } from './audit/verify.ts';
import { heardWitnesses, witnessFiles } from './audit/witnesses.ts';
import { lockDataDirectory } from './data-lock.ts';
import { Bcrypt } from './enroll/bcrypt.ts';
import { EnvoyCreation } from './enroll/creation.ts';
import { Enrollment } from './enroll/enroll.ts';
import { renew } from './enroll/renew.ts';
import { TokenDesk } from './enroll/token-desk.ts';
import { EnrollTokens } from './enroll/tokens.ts';
import { FleetIndex } from './fleet/fleet-index.ts';
import { Flusher } from './fleet/flusher.ts';
import { Ownership } from './fleet/ownership.ts';
import { RunIntake } from './fleet/run-intake.ts';
import { prepareDirectories } from './identity/directories.ts';
import { joinOnce } from './identity/join-hub.ts';
import { Revocations } from './identity/revocations.ts';
import { openIdentity } from './identity/server-identity.ts';
import { isJoining } from './identity/succeed.ts';
import { observeFleet } from './observe/fleet-metrics.ts';
import { createMetrics } from './observe/metrics.ts';
import type { ServerParts } from './parts.ts';
import { ReleaseSwitch } from './release-switch.ts';
import { Authenticator } from './rpc/authenticate.ts';
import type { Forwarded } from './rpc/messages.ts';
import { RefusedRequests } from './rpc/refused.ts';
import { ReplyCache } from './rpc/reply-cache.ts';
import { reportResults } from './rpc/report.ts';
import { resolveSecrets } from './rpc/resolve-secrets.ts';
import { RpcThreads } from './rpc/rpc-threads.ts';
import { workerSetup } from './rpc/worker-setup.ts';
import { openSecrets } from './secrets/index.ts';
import type { Settings } from './settings.ts';
import { openDatabase } from './store/database.ts';
import { withMetrics } from './store/with-metrics.ts';

export interface ServerOptions {
  readonly dataDir: string;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly log: Logger;
  readonly redactor: Redactor;
  readonly version: string;
  /** a thread died or something else that must end the process */
  fatal(error: Error): void;
}

export interface RunningServer {
  readonly parts: ServerParts;
  readonly rpcPort: number;
  /** when it is due: the new identity of the TLS listeners, in use on the RPC port already */
  renewCertificate(): Promise<TlsIdentity | undefined>;
  stop(): Promise<void>;
}

async function step<T>(log: Logger, clock: Clock, name: string, work: () => Promise<T> | T): Promise<T> {
  const begun = clock.monotonic();
  const result = await work();
  log.info('start step done', { step: name, ms: Math.round((clock.monotonic() - begun) * 10) / 10 });
  return result;
}

function databaseOptions(settings: Settings, dataDir: string): Parameters<typeof openDatabase>[0] {
  const { database } = settings;
  if (database.driver === 'postgres') return { driver: 'postgres', url: database.url ?? '', pool: database.pool };
  return { driver: 'sqlite', path: resolve(dataDir, database.path), busyTimeoutMs: database.busy_timeout, create: false };
}

/** Everything but REST and publish, which the roles add. @throws CodedError with the exit code of server.md §3 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { settings, clock, log, redactor, version } = options;
  const stops: (() => Promise<void> | void)[] = [];
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  };
  try {
    const paths = await step(log, clock, 'directories', () => prepareDirectories(options.dataDir));
    const lock = await step(log, clock, 'lock', () => lockDataDirectory(join(paths.run, 'lock')));
    stops.push(() => lock.release());
    if (isJoining(paths))
      throw new CodedError('SETTINGS_INVALID', 'a join of this server to a hub was interrupted', {
        hint: 'carry it through: vigosrv join',
      });
    const { role, spoke_id: spokeId, join_token_file: tokenFile } = settings.spanner;
    if (role === 'spoke')
      await step(log, clock, 'join', () =>
        joinOnce({ paths, spokeId: spokeId ?? '', tokenFile, version, clock, log: log.component('join') }),
      );
    const identityOptions = () => ({ names: certificateNames(settings), certDays: settings.server.tls.server_cert_days, now: clock.now() });
    const identity = await step(log, clock, 'keys', () => openIdentity(paths, identityOptions()));
    const revocations = new Revocations(paths, identity);
    const metrics = createMetrics();
    metrics.set('vigo_build_info', 1, { version, role: settings.spanner.role });
    const store = withMetrics(
      await step(log, clock, 'database', () => openDatabase(databaseOptions(settings, options.dataDir), clock.now())),
      metrics,
    );
    stops.push(() => store.close());
    const keyOf = (keyId: string) => (keyId === identity.keyId ? identity.serverKey.publicKey : undefined);
    let recorded = () => {};
    const trail = createTrail({ clock, site: identity.siteId, epoch: () => identity.epoch, onRecord: () => recorded() });
    const witnessPaths = witnessFiles(settings.audit.witnesses, options.dataDir);
    await step(log, clock, 'audit log', async () => {
      try {
        const { newest, hearsWitnesses } = await scopeOfCheck(store);
        const witnesses = hearsWitnesses ? await heardWitnesses(witnessPaths) : [];
        await verifyNewest(
          { store, fleetId: identity.fleetId, siteId: identity.siteId, former: identity.succession, keyOf, witnesses },
          Math.min(START_UP_LEAVES, newest),
        );
      } catch (thrown) {
        if (!(thrown instanceof CodedError) || thrown.code !== 'AUDIT_BROKEN') throw thrown;
        // the server serves on, but refuses every change until an admin has looked
        log.error('the audit log does not verify', { code: 'AUDIT_BROKEN', error: thrown.message });
        metrics.count('vigo_audit_verify_failures_total', 1);
        trail.block(thrown.message);
      }
    });
    const secrets = openSecrets(settings.secrets, options.dataDir);
    await step(log, clock, 'secrets provider', () => secrets.check());
    const fleet = new FleetIndex();
    await step(log, clock, 'fleet index', async () => {
      for await (const row of store.envoys.all()) fleet.load(row);
    });
    const checkpointer = createCheckpointer({
      store,
      clock,
      log: log.component('audit'),
      key: identity.serverKey,
      fleetId: identity.fleetId,
      siteId: identity.siteId,
      epoch: () => identity.epoch,
      every: settings.audit.checkpoint_every,
      witnesses: witnessPaths.map(fileWitness),
    });
    recorded = () => checkpointer.recorded();
    checkpointer.start();
    stops.push(() => checkpointer.stop());
    const intake = new RunIntake({ fleet, store, clock });
    const flusher = new Flusher({
      fleet,
      store,
      clock,
      log: log.component('flusher'),
      intervalMs: settings.database.flush_interval,
      batch: settings.database.flush_batch,
      measured: (seconds) => metrics.observe('vigo_index_flush_seconds', seconds),
    });
    await flusher.start();
    stops.push(() => flusher.stop());
    stops.push(() => intake.settle());
    const ownership = new Ownership({
      store,
      fleet,
      intake,
      trail,
      clock,
      identity,
      entryOf: (hostname) => releases.entryOf(hostname),
      dropConnections: (envoyId) => rpc.drop(envoyId),
    });
    await step(log, clock, 'ownership', () => ownership.start());
    const startedAt = clock.now();
    const replies = new ReplyCache(clock);
    const refused = new RefusedRequests({ store, trail, metrics, clock, log: log.component('rpc') });
    stops.push(() => refused.stop());
    const call = (forwarded: Forwarded): Promise<Uint8Array> =>
      replies.answer(forwarded, () =>
        forwarded.method === 'reportResults'
          ? reportResults(forwarded, intake)
          : resolveSecrets(forwarded, {
              store,
              identity,
              provider: secrets,
              trail,
              allowed: (slot) => releases.allowedRefs(fleet.hostname(slot)),
              hostname: (slot) => fleet.hostname(slot),
              counted: (status) => metrics.count('vigo_secrets_resolved_total', 1, { status }),
            }),
      );
    const observed = observeFleet({
      fleet,
      store,
      metrics,
      clock,
      log: log.component('fleet'),
      intervalMs: settings.checkin.interval,
      staleFactor: settings.checkin.stale_factor,
      intake,
    });
    stops.push(() => observed.stop());
    const rpc = new RpcThreads(fleet, {
      call: async (forwarded) => {
        // it left between the thread's look and ours: what it says belongs to its new owner
        if (fleet.view(forwarded.slot).departed) throw new CodedError('REDIRECT', 'another site owns this envoy');
        const reply = await call(forwarded);
        metrics.count('vigo_requests_total', 1, { service: 'agent', method: forwarded.method, code: 'OK' });
        return reply;
      },
      owner: async (envoyId, wrongAudience) => {
        const grant = await ownership.redirectOf(envoyId as EnvoyId, wrongAudience);
        if (grant !== undefined) metrics.count('vigo_redirects_total', 1);
        return Buffer.from(grant === undefined ? '' : JSON.stringify(grant));
      },
      notice: (notice, thread) => {
        if (notice.kind === 'event' && notice.event === 'arrived') ownership.seen(notice.slot);
        else if (notice.kind === 'traits') flusher.addTraits(notice.slot, notice);
        else if (notice.kind === 'refused') refused.add(notice);
        else observed.notice(notice, thread);
      },
      crashed: options.fatal,
    });
    stops.push(() => rpc.stop());
    const rpcPort = await step(log, clock, 'rpc listener', () =>
      rpc.start(workerSetup(settings, identity, fleet, startedAt), settings.server.threads),
    );
    const advertise = advertised(settings, rpcPort);
    const { checkin } = settings;
    const authority = {
      servers: [advertise],
      // the hub can tell who owns an envoy when its own site cannot be reached
      fallback_servers: settings.spanner.hub_addr ?? [],
      offline_policy: checkin.offline_policy,
      queue_max_runs: checkin.queue_max_runs,
      queue_max_size: checkin.queue_max_size,
      bundle_max_age_s: Math.floor(checkin.bundle_max_age / 1000),
      get revoked() {
        return revocations.records;
      },
    };
    const releases: ReleaseSwitch = new ReleaseSwitch({ fleet, rpc, clock, authority, observeAll: checkin.observe_only });
    revocations.onChange(() => {
      rotateTickets();
      releases.refresh().catch(options.fatal);
    });
    const rotation = setInterval(() => rotateTickets(), 3_600_000);
    rotation.unref();
    stops.push(() => clearInterval(rotation));
    let { tls } = identity;
    const rotateTickets = () =>
      rpc.useContext(tls.certificateChain, tls.privateKey, settings.server.tls.session_tickets ? newTicketKeys() : undefined);
    const renewCertificate = async () => {
      const fresh = await openIdentity(paths, identityOptions());
      if (fresh.delegation.record !== identity.delegation.record) {
        identity.delegation = fresh.delegation;
        rpc.useDelegation(fresh.delegation);
        log.info('the delegation was renewed', {});
      }
      if (fresh.tls.certificateChain === tls.certificateChain) return undefined;
      tls = fresh.tls;
      rotateTickets();
      log.info('the server certificate was renewed', {});
      return tls;
    };
    const dropConnections = (envoyId: string) => {
      rotateTickets();
      rpc.drop(envoyId);
    };
    const bcrypt = new Bcrypt();
    stops.push(() => bcrypt.stop());
    const tokens = new EnrollTokens({ store, bcrypt, trail, clock, cost: settings.enrollment.token_bcrypt_cost, pin: identity.rootPin });
    const desk = new TokenDesk({ store, bcrypt, trail, clock, environmentOf: (hostname) => releases.environmentOf(hostname) });
    const creation = new EnvoyCreation({
      store,
      fleet,
      identity,
      trail,
      clock,
      settings: {
        advertise,
        // agents of a spoke may have enrolled at the hub
        apiUrl: role === 'spoke' ? settings.server.public_url : undefined,
        fallback: authority.fallback_servers,
        envoyCertDays: settings.server.tls.envoy_cert_days,
        pending: settings.enrollment.pending,
        onConflict: settings.enrollment.hostname_conflict,
      },
      entryOf: (hostname) => releases.entryOf(hostname),
      dropConnections,
      announces: (hostname) => ownership.announces(hostname),
      leaving: () => ownership.leaving,
    });
    const enrollment = new Enrollment({ store, trail, clock, desk, creation });
    const authenticator = new Authenticator(
      fleet.columns,
      { fleetId: idBytes(identity.fleetId), siteId: identity.siteId, epoch: identity.epoch, startedAt },
      clock,
    );
    const parts: ServerParts = {
      version,
      settings,
      paths,
      identity,
      revocations,
      clock,
      log,
      redactor,
      metrics,
      store,
      trail,
      checkpointer,
      fleet,
      intake,
      ownership,
      releases,
      secrets,
      tokens,
      desk,
      creation,
      enrollment,
      rpc,
      authenticator,
      startedAt,
      advertised: advertise,
      tls: () => tls,
      dropConnections,
      renew: (request, address) =>
        renew(
          request,
          { store, fleet, identity, authenticator, ownership, trail, clock, envoyCertDays: settings.server.tls.envoy_cert_days },
          address,
        ),
    };
    return { parts, rpcPort, renewCertificate, stop: stopAll };
  } catch (thrown) {
    await stopAll();
    throw thrown;
  }
}
