/**
 * Fleets over several regions in containers, from a description: a hub and its spokes on a backbone, envoys in a network of their region, links that are cut by
 * taking a network away (both ways) or by a packet filter inside a host (one way). Programs run from this checkout, mounted read-only.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { GenericContainer, getContainerRuntimeClient, Network, type StartedNetwork, type StartedTestContainer } from 'testcontainers';
import { baseImage } from '../../tools/ensure-docker.ts';
import { type Host, hostOf, PREFIX, removeLeftovers } from './container-launcher.ts';
import { eventually } from './eventually.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const NODE = '/opt/vigo/node_modules/.bin/node --disable-warning=ExperimentalWarning';

export interface Topology {
  /** spokes by id: how many envoys stand in their region */
  readonly spokes: Readonly<Record<string, { readonly envoys: number }>>;
  /** keys of server.yaml of every server, merged over what init wrote, one level deep */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** A server of the fleet; `cli` asks it through its own socket. */
export interface ServerHost extends Host {
  readonly id: string;
  /** @throws with both streams when the exit code is not among `codes` */
  cli(args: readonly string[], codes?: readonly number[]): Promise<string>;
  cliJson<T>(args: readonly string[], codes?: readonly number[]): Promise<T>;
  log(): Promise<string>;
  /** SIGKILL for the whole host; `start` brings it back with its disk */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface EnvoyHost extends Host {
  readonly hostname: string;
  readonly spoke: string;
  /** tokens are the caller's business; enrols at the REST port of a server */
  register(server: ServerHost, token: string): Promise<void>;
  start(): Promise<void>;
}

export interface Regions {
  readonly hub: ServerHost;
  readonly spokes: Readonly<Record<string, ServerHost>>;
  readonly envoys: readonly EnvoyHost[];
  /** takes the spoke off the backbone, or brings it back */
  link(spoke: string, connected: boolean): Promise<void>;
  /** drops what `from` sends to `to`, on the side of `from` */
  dropOneWay(from: Host, to: Host, dropped: boolean): Promise<void>;
  /** an envoy hostname of a region */
  hostnameOf(spoke: string, index: number): string;
  stop(): Promise<void>;
}

interface Started {
  readonly container: StartedTestContainer;
  readonly host: Host;
}

class Launcher {
  readonly #started: StartedTestContainer[] = [];
  readonly #networks: StartedNetwork[] = [];
  readonly networkIds = new Map<string, string>();

  name(short: string): string {
    return `${PREFIX}-${process.pid}-${short}`;
  }

  async network(short: string): Promise<StartedNetwork> {
    const network = await new Network({ nextUuid: () => this.name(`net-${short}`) }).start();
    this.#networks.push(network);
    this.networkIds.set(short, network.getId());
    return network;
  }

  async start(short: string, network: StartedNetwork, script: string): Promise<Started> {
    const container = await new GenericContainer(baseImage())
      .withName(this.name(short))
      .withHostname(short)
      .withNetwork(network)
      .withEntrypoint(['sh', '-c', script])
      .withAddedCapabilities('NET_ADMIN')
      .withBindMounts([{ source: root, target: '/opt/vigo', mode: 'ro' }])
      .start();
    this.#started.push(container);
    return { container, host: hostOf(short, container) };
  }

  async connect(short: string, container: StartedTestContainer, connected: boolean): Promise<void> {
    const network = (await getContainerRuntimeClient()).network.getById(this.networkIds.get(short)!);
    const Container = container.getId();
    await (connected ? network.connect({ Container }) : network.disconnect({ Container, Force: true }));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#started.map((container) => container.stop({ timeout: 0 })));
    await Promise.all(this.#networks.map((network) => network.stop()));
  }
}

/** Waits for its orders at the first start; later starts go straight on. */
const whenReady = (command: string) => `trap exit TERM; while [ ! -e /go ]; do sleep 0.1; done; exec ${command}`;
const vigosrv = `${NODE} /opt/vigo/bin/vigosrv.ts --data-dir /srv/vigo --allow-root`;

function serverHost(launcher: Launcher, id: string, { container, host }: Started): ServerHost {
  const cli = async (args: readonly string[], codes: readonly number[] = [0]): Promise<string> => {
    const { code, stdout, stderr } = await host.exec([...NODE.split(' '), '/opt/vigo/bin/vigocli.ts', '--data-dir', '/srv/vigo', ...args]);
    if (!codes.includes(code)) throw new Error(`${id}: vigocli ${args.join(' ')} exits ${code}\n${stdout}${stderr}`);
    return stdout;
  };
  const engine = async () => (await getContainerRuntimeClient()).container.getById(container.getId());
  const answers = async () => {
    const { code } = await host.exec(['sh', '-c', 'test -S /srv/vigo/run/admin.sock']);
    if (code !== 0) throw new Error(`${id} is not up`);
    await cli(['version']);
  };
  return {
    ...host,
    id,
    name: launcher.name(id),
    cli,
    cliJson: async <T>(args: readonly string[], codes?: readonly number[]) => JSON.parse(await cli(['--json', ...args], codes)) as T,
    log: async () => {
      const stream = await container.logs();
      let text = '';
      stream.on('data', (line: Buffer | string) => {
        text += String(line);
      });
      await sleep(300);
      stream.destroy();
      return text;
    },
    async kill() {
      await (await engine()).kill();
    },
    async start() {
      const { State } = await (await engine()).inspect();
      if (!State.Running) {
        await host.exec(['true']).catch(() => undefined);
        await (await engine()).start();
      }
      await host.sh('touch /go');
      await eventually(answers, { timeoutMs: 60_000, everyMs: 200 });
    },
  };
}

async function configure(server: ServerHost, settings: Topology['settings'] = {}): Promise<void> {
  const script = `
    const { readFileSync, writeFileSync } = require('node:fs');
    const { parse, stringify } = require('/opt/vigo/node_modules/yaml');
    const file = '/srv/vigo/server.yaml';
    const held = parse(readFileSync(file, 'utf8'));
    for (const [section, keys] of Object.entries(${JSON.stringify(settings)})) held[section] = { ...held[section], ...keys };
    writeFileSync(file, stringify(held));`;
  const { code, stderr } = await server.exec([...NODE.split(' '), '-e', script]);
  if (code !== 0) throw new Error(`${server.id}: ${stderr}`);
}

/** Everything is up, joined and empty: nothing is published and nobody enrolled. */
export async function openRegions(topology: Topology): Promise<Regions> {
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  await removeLeftovers();
  const launcher = new Launcher();
  try {
    return await build(launcher, topology);
  } catch (thrown) {
    await launcher.stop();
    throw thrown;
  }
}

async function build(launcher: Launcher, topology: Topology): Promise<Regions> {
  const backbone = await launcher.network('backbone');
  const containers = new Map<string, StartedTestContainer>();
  const server = async (id: string, init: string): Promise<ServerHost> => {
    const started = await launcher.start(id, backbone, whenReady(`${vigosrv} run`));
    containers.set(id, started.container);
    const made = serverHost(launcher, id, started);
    await made.sh(`${vigosrv} init --hostname ${launcher.name(id)} ${init}`);
    await configure(made, topology.settings);
    return made;
  };
  const hub = await server('hub', '--role hub');
  await hub.start();
  const spokes: Record<string, ServerHost> = {};
  for (const id of Object.keys(topology.spokes)) {
    const network = await launcher.network(id);
    const added = await hub.cliJson<{ token: string }>([
      ...['spanner', 'spoke', 'add', id, '--pattern', `*.${id}.test`, '--addr', `${launcher.name(id)}:1530`],
    ]);
    const started = await launcher.start(id, backbone, whenReady(`${vigosrv} run`));
    containers.set(id, started.container);
    await launcher.connect(id, started.container, true);
    const spoke = serverHost(launcher, id, started);
    await spoke.write('/root/join.token', added.token, 0o600);
    await spoke.sh(
      `${vigosrv} init --hostname ${launcher.name(id)} --role spoke --spoke-id ${id} --hub-addr ${launcher.name('hub')}:1530 --join-token-file /root/join.token`,
    );
    await configure(spoke, topology.settings);
    await spoke.start();
    spokes[id] = spoke;
    void network;
  }
  const hostnameOf = (spoke: string, index: number) => `web${index}.${spoke}.test`;
  const envoys: EnvoyHost[] = [];
  await Promise.all(
    Object.entries(topology.spokes).map(async ([spoke, { envoys: count }]) => {
      for (let index = 1; index <= count; index++) envoys.push(await envoyHost(spoke, index));
    }),
  );
  async function envoyHost(spoke: string, index: number): Promise<EnvoyHost> {
    const network = { getName: () => launcher.name(`net-${spoke}`), getId: () => launcher.networkIds.get(spoke)! } as StartedNetwork;
    const { host } = await launcher.start(`${spoke}-web${index}`, network, whenReady(`${NODE} /opt/vigo/bin/vigo.ts daemon`));
    return {
      ...host,
      hostname: hostnameOf(spoke, index),
      spoke,
      async register(at, token) {
        await host.write('/root/token', token, 0o600);
        await host.sh(
          `${NODE} /opt/vigo/bin/vigo.ts --api-addr https://${at.name}:8443 register --token-file /root/token --hostname ${hostnameOf(spoke, index)}`,
        );
      },
      start: async () => void (await host.sh('touch /go')),
    };
  }
  return {
    hub,
    spokes,
    envoys,
    hostnameOf,
    link: (spoke, connected) => launcher.connect('backbone', containers.get(spoke)!, connected),
    async dropOneWay(from, to, dropped) {
      const address = await to.address();
      await from.sh(`iptables -${dropped ? 'A' : 'D'} OUTPUT -d ${address} -j DROP`);
    },
    stop: () => launcher.stop(),
  };
}
