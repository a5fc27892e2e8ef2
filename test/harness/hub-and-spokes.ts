/** A hub and spokes as `vigosrv run` starts them, in this process, with real sockets, links, stores and keys; agents register over REST. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { type Registered, register } from '../../agent/enroll/register.ts';
import { Agent } from '../../agent/runtime.ts';
import { readSettings as readAgentSettings } from '../../agent/settings.ts';
import type { EnrollReply, EnrollRequest } from '../../core/api/enroll.ts';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { publicKeyPin } from '../../core/crypto/certificate.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { newSigningKey, type SigningKey } from '../../core/crypto/ed25519.ts';
import { newSealingKey } from '../../core/crypto/hpke.ts';
import { httpsCall } from '../../core/crypto/https-client.ts';
import { mintJoinToken } from '../../hub/join.ts';
import { hubRole } from '../../hub/main.ts';
import { newSite } from '../../hub/sites.ts';
import { initSite, JOIN_TOKEN } from '../../server/init.ts';
import type { ServerParts } from '../../server/parts.ts';
import { readSettings } from '../../server/settings.ts';
import { type RunningSite, startSite } from '../../server/site.ts';
import { spokeRole } from '../../spoke/main.ts';
import { quietLog } from '../fakes/quiet-log.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

export const TESTER = { kind: 'system', id: 'test', name: 'test' } as const;

/** One site, which can be stopped and started with what it has on disk. */
export class RoleSite {
  readonly id: string;
  readonly dir: string;
  readonly rpcPort: number;
  readonly apiPort: number;
  readonly #clock: Clock;
  #running: RunningSite | undefined;

  private constructor(id: string, dir: string, ports: { rpcPort: number; apiPort: number }, clock: Clock) {
    this.id = id;
    this.dir = dir;
    this.rpcPort = ports.rpcPort;
    this.apiPort = ports.apiPort;
    this.#clock = clock;
  }

  static async make(
    id: string,
    settings: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
    joinToken?: string,
    clock: Clock = systemClock,
  ): Promise<RoleSite> {
    const ports = { rpcPort: await freePort(), apiPort: await freePort() };
    const made = new RoleSite(id, mkdtempSync(join(tmpdir(), `vigo-${id}-`)), ports, clock);
    await initSite({
      dataDir: made.dataDir,
      hostname: 'localhost',
      admin: 'admin',
      offlineRoot: undefined,
      forceEmpty: false,
      exampleTree: undefined,
      joinToken,
      settings: {
        enrollment: { token_bcrypt_cost: 10, ...settings['enrollment'] },
        server: {
          grpc_listen: `127.0.0.1:${ports.rpcPort}`,
          api_listen: `127.0.0.1:${ports.apiPort}`,
          advertise: `localhost:${ports.rpcPort}`,
          public_url: `https://localhost:${ports.apiPort}`,
          threads: 1,
        },
        limits: { enroll_per_s: 1000 },
        spanner: settings['spanner'],
      },
      clock: systemClock,
    });
    return made;
  }

  get dataDir(): string {
    return join(this.dir, 'data');
  }

  get parts(): ServerParts {
    if (this.#running === undefined) throw new Error(`${this.id} does not run`);
    return this.#running.parts;
  }

  get address(): string {
    return `localhost:${this.rpcPort}`;
  }

  get api(): string {
    return `https://localhost:${this.apiPort}`;
  }

  /** keys of server.yaml, merged over what is there, one level deep; from the next start on */
  configure(settings: Readonly<Record<string, Readonly<Record<string, unknown>>>>): void {
    const file = join(this.dataDir, 'server.yaml');
    const held = parse(readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>;
    for (const [section, keys] of Object.entries(settings)) held[section] = { ...held[section], ...keys };
    writeFileSync(file, stringify(held));
  }

  async start(): Promise<void> {
    const read = readSettings(readFileSync(join(this.dataDir, 'server.yaml'), 'utf8'), { file: 'server.yaml', hostname: 'localhost' });
    if (!read.ok) throw new Error(JSON.stringify(read.problems));
    this.#running = await startSite(
      {
        dataDir: this.dataDir,
        settings: read.settings,
        clock: this.#clock,
        log: quietLog(),
        redactor: new Redactor(),
        version: 'test',
        fatal: (error) => {
          throw error;
        },
      },
      read.settings.spanner.role === 'hub' ? hubRole : spokeRole,
    );
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = undefined;
  }

  async token(pattern: string, spoke?: string): Promise<string> {
    return (await this.parts.tokens.create({ pattern, ttlMs: 600_000, spoke }, TESTER)).token;
  }

  /** The events of the audit log of that name, newest first. */
  async audit(event: string): Promise<readonly Record<string, never>[]> {
    return (await this.parts.store.audit.list({ event }, 200)).map(({ record }) => JSON.parse(record) as Record<string, never>);
  }
}

/** What came of a request to enrol: the code of a refusal, or the reply. */
export interface Answered {
  readonly status: number;
  readonly code: string;
  readonly hint: string;
  readonly reply: EnrollReply;
}

/** Posts a request to enrol as it is. */
export async function post(at: Pick<RoleSite, 'api' | 'dataDir'>, request: EnrollRequest): Promise<Answered> {
  const { status, body } = await httpsCall({
    method: 'POST',
    url: new URL('/api/v1/enroll', at.api),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
    rootCa: readFileSync(join(at.dataDir, 'tls', 'root-ca.pem'), 'utf8'),
    timeoutMs: 60_000,
    maxBytes: 1 << 20,
  });
  const reply = JSON.parse(body.toString('utf8')) as EnrollReply & { code?: string; hint?: string };
  return { status, code: reply.code ?? '', hint: reply.hint ?? '', reply };
}

/** A request as an agent with these keys makes it. */
export function enrolRequest(
  csr: string,
  hostname: string,
  token: string | undefined,
  key: SigningKey = newSigningKey(),
  more: Partial<EnrollRequest> = {},
): EnrollRequest {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const unsigned = {
    ...(token === undefined ? {} : { token }),
    hostname,
    csr,
    identity_key: base64(key.publicKey),
    sealing_key: base64(newSealingKey().publicKey),
    platform: 'linux/x64',
    agent_version: '0',
    timestamp_ms: Date.now(),
    ...more,
  };
  return { ...unsigned, proof: base64(signFor('enroll', key, canonicalBytes(unsigned))) };
}

export interface EnrolledMachine extends Registered {
  readonly configDir: string;
  /** a process of the agent */
  open(): Agent;
}

export class HubAndSpokes {
  hub!: RoleSite;
  readonly spokes: Record<string, RoleSite> = {};
  readonly dir = mkdtempSync(join(tmpdir(), 'vigo-machines-'));
  readonly #agents: Agent[] = [];

  /** @param patterns of each spoke, by id */
  async start(
    patterns: Readonly<Record<string, readonly string[]>>,
    more: {
      readonly hub?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
      readonly spoke?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    } = {},
  ): Promise<void> {
    this.hub = await RoleSite.make('hub', { ...more.hub, spanner: { role: 'hub', heartbeat: '300ms', ...more.hub?.['spanner'] } });
    await this.hub.start();
    const tokens: Record<string, string> = {};
    for (const [id, globs] of Object.entries(patterns)) {
      const { token, hash, expiresAt } = mintJoinToken(this.hub.parts, id, 600_000);
      tokens[id] = token;
      const join = { hash, expiresAt, spentAt: 0, answer: '' };
      await this.hub.parts.store.sites.put({ ...newSite(id, 'database', Date.now()), patterns: globs, join });
    }
    // the registry reads them at its start
    await this.hub.stop();
    await this.hub.start();
    for (const id of Object.keys(patterns)) {
      const spoke = await RoleSite.make(
        id,
        {
          ...more.spoke,
          spanner: {
            role: 'spoke',
            spoke_id: id,
            hub_addr: this.hub.address,
            join_token_file: JOIN_TOKEN,
            heartbeat: '300ms',
            ...more.spoke?.['spanner'],
          },
        },
        tokens[id],
      );
      this.spokes[id] = spoke;
      await spoke.start();
    }
    await this.linked();
  }

  /** Every spoke that runs has heard from the hub and has its permits. */
  async linked(): Promise<void> {
    for (const spoke of Object.values(this.spokes))
      await eventually(
        async () => {
          const { spanner } = spoke.parts.settings;
          if ((await spoke.parts.tokens.permits!.left()) < spanner.offline_enroll_tokens)
            throw new Error(`${spoke.id} has too few permits`);
        },
        { timeoutMs: 20_000 },
      );
  }

  /** Registers as `vigo register` does. */
  async enrol(at: RoleSite, hostname: string, token: string | undefined, name = hostname): Promise<EnrolledMachine> {
    const configDir = join(this.dir, name);
    const registered = await register({
      apiAddr: at.api,
      token,
      caPin: publicKeyPin(readFileSync(join(at.dataDir, 'tls', 'root-ca.pem'), 'utf8')),
      hostname,
      configDir,
      force: false,
      version: 'test',
      clock: systemClock,
      signal: new AbortController().signal,
      waitMs: 0,
      confirmPin: () => Promise.resolve(false),
      progress: () => {},
    });
    const open = () => {
      const settings = readAgentSettings({}, { configDir, stateDir: join(this.dir, `${name}-state`) });
      const agent = new Agent({ settings, clock: systemClock, log: quietLog() });
      this.#agents.push(agent);
      return agent;
    };
    return { ...registered, configDir, open };
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) await agent.close();
    for (const site of [...Object.values(this.spokes), this.hub]) {
      await site.stop();
      rmSync(site.dir, { recursive: true, force: true });
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
