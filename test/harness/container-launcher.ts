/** Real Debian hosts with systemd as containers: what an agent meets on a server, short of its own kernel. */
import { setTimeout as sleep } from 'node:timers/promises';
import { GenericContainer, getContainerRuntimeClient, Network, type StartedNetwork, type StartedTestContainer, Wait } from 'testcontainers';
import { baseImage } from '../../tools/ensure-docker.ts';

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Host {
  readonly name: string;
  /** never throws for an exit code */
  exec(argv: readonly string[]): Promise<ExecResult>;
  /** a shell script; its trimmed output. @throws with both streams when it fails */
  sh(script: string): Promise<string>;
  copyFile(source: string, target: string, mode?: number): Promise<void>;
  write(target: string, text: string, mode?: number): Promise<void>;
  /** as this machine reaches it; another one after a reboot or a cut */
  address(): Promise<string>;
  /** as `reboot` would: systemd stops everything, /run and /tmp are empty, systemd starts again */
  reboot(): Promise<void>;
  stop(): Promise<void>;
}

export interface Hosts {
  /** address of this machine as the hosts see it */
  readonly gateway: string;
  /** `extraHosts`: names the host shall know, by address */
  start(name: string, options?: { extraHosts?: Readonly<Record<string, string>> }): Promise<Host>;
  /** cuts a host off the network, or lets it back */
  connect(host: Host, connected: boolean): Promise<void>;
  stop(): Promise<void>;
}

export const PREFIX = 'vigo-test';
const READY = 'systemctl is-system-running | grep -Eq "running|degraded"';

function isAlive(pid: string): boolean {
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch {
    return false; // no such process: its hosts are leftovers
  }
}

/** There is no reaper: each run removes what earlier ones, that ended badly, left behind. Names carry the process id of their run. */
export async function removeLeftovers(): Promise<void> {
  const { dockerode } = (await getContainerRuntimeClient()).container;
  const isLeft = (name: string) => {
    const pid = new RegExp(`^/?${PREFIX}-(\\d+)(-|$)`).exec(name)?.[1];
    return pid !== undefined && !isAlive(pid);
  };
  for (const { Id, Names } of await dockerode.listContainers({ all: true })) {
    if (Names.some(isLeft)) await dockerode.getContainer(Id).remove({ force: true, v: true });
  }
  for (const { Id, Name } of await dockerode.listNetworks()) if (isLeft(Name)) await dockerode.getNetwork(Id).remove();
}

export function hostOf(name: string, container: StartedTestContainer): Host {
  const exec = async (argv: readonly string[]): Promise<ExecResult> => {
    const { exitCode, stdout, stderr } = await container.exec([...argv]);
    return { code: exitCode, stdout, stderr };
  };
  return {
    name,
    exec,
    async sh(script) {
      const { code, stdout, stderr } = await exec(['sh', '-c', script]);
      if (code !== 0) throw new Error(`${name}: exit ${code} of ${script}\n${stdout}${stderr}`);
      return stdout.trim();
    },
    copyFile: (source, target, mode = 0o644) => container.copyFilesToContainer([{ source, target, mode }]),
    write: (target, content, mode = 0o644) => container.copyContentToContainer([{ content, target, mode }]),
    address: async () => (await exec(['hostname', '-I'])).stdout.trim().split(' ')[0] ?? '',
    async reboot() {
      await container.restart({ timeout: 10 });
      // the wait strategy of the first start belongs to the first start
      for (let tries = 0; tries < 300; tries += 1) {
        if ((await exec(['sh', '-c', READY])).code === 0) return;
        await sleep(100);
      }
      throw new Error(`${name} did not come back`);
    },
    stop: async () => void (await container.stop({ timeout: 0 })),
  };
}

export async function openHosts(): Promise<Hosts> {
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  await removeLeftovers();
  const started = new Map<string, StartedTestContainer>();
  const network: StartedNetwork = await new Network({ nextUuid: () => `${PREFIX}-${process.pid}` }).start();
  const client = await getContainerRuntimeClient();
  const details = (await client.network.getById(network.getId()).inspect()) as { IPAM: { Config?: { Gateway?: string }[] } };
  const gateway = details.IPAM.Config?.[0]?.Gateway;
  if (gateway === undefined) throw new Error('the network of the test hosts has no gateway');
  return {
    gateway,
    async start(name, options = {}) {
      const container = await new GenericContainer(baseImage())
        .withName(`${PREFIX}-${process.pid}-${name}`)
        .withHostname(name)
        .withNetwork(network)
        .withCommand(['/lib/systemd/systemd'])
        .withAddedCapabilities('SYS_ADMIN', 'NET_ADMIN')
        .withSecurityOpt('seccomp=unconfined', 'apparmor=unconfined')
        .withTmpFs({ '/run': 'rw', '/run/lock': 'rw', '/tmp': 'rw' })
        .withBindMounts([{ source: '/sys/fs/cgroup', target: '/sys/fs/cgroup', mode: 'rw' }])
        .withExtraHosts(Object.entries(options.extraHosts ?? {}).map(([host, ipAddress]) => ({ host, ipAddress })))
        .withWaitStrategy(Wait.forSuccessfulCommand(READY).withStartupTimeout(60_000))
        .start();
      started.set(name, container);
      const host = hostOf(name, container);
      return {
        ...host,
        stop: async () => {
          started.delete(name);
          await host.stop();
        },
      };
    },
    async connect(host, connected) {
      const id = started.get(host.name)?.getId();
      if (id === undefined) throw new Error(`${host.name} does not run`);
      const cable = client.network.getById(network.getId());
      await (connected ? cable.connect({ Container: id }) : cable.disconnect({ Container: id, Force: true }));
    },
    async stop() {
      await Promise.all([...started.values()].map((container) => container.stop({ timeout: 0 })));
      await network.stop();
    },
  };
}
