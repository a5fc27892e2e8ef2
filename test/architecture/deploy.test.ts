/** What lies in deploy/ holds together: the Kubernetes tree renders and names things that exist, compose starts what it says. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { testUnless } from '../harness/where.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const kubernetes = join(root, 'deploy/kubernetes');

interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: {
    readonly selector?: { readonly matchLabels?: Record<string, string> } & Record<string, unknown>;
    readonly template?: {
      readonly metadata: { readonly labels: Record<string, string> };
      readonly spec: {
        readonly securityContext: { readonly runAsNonRoot: boolean };
        readonly containers: readonly {
          readonly env: readonly { readonly name: string; readonly value: string }[];
          readonly securityContext: Record<string, unknown>;
          readonly lifecycle?: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
          readonly startupProbe: { readonly exec: { readonly command: readonly string[] } };
          readonly volumeMounts: readonly { readonly name: string }[];
        }[];
        readonly volumes: readonly { readonly name: string; readonly secret?: { readonly secretName: string } }[];
      };
    };
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
  };
}

function kustomizations(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return kustomizations(path);
    return name === 'kustomization.yaml' ? [path] : [];
  });
}

const found = spawnSync('kubectl', ['kustomize', join(kubernetes, 'example')], { encoding: 'utf8', timeout: 30_000 });
const rendered = found.status === 0 ? found.stdout : undefined;
const withKubectl = testUnless(found.error === undefined ? undefined : 'kubectl is not installed here');

describe('the Kubernetes tree', () => {
  test('every kustomization names files and folders that are there', () => {
    const paths = kustomizations(kubernetes);
    expect(paths.length).toBeGreaterThanOrEqual(7);
    for (const path of paths) {
      const { resources, patches = [] } = parse(readFileSync(path, 'utf8')) as { resources: string[]; patches?: { path?: string }[] };
      for (const name of [...resources, ...patches.flatMap((patch) => patch.path ?? [])])
        expect({ path, name, there: existsSync(join(dirname(path), name)) }).toEqual({ path, name, there: true });
    }
  });

  withKubectl('renders to one service, one stateful set and one budget a site, unprivileged, draining before they stop', () => {
    expect(found.stderr).toBe('');
    const all = parseAllDocuments(rendered ?? '').map((document) => document.toJS() as Resource);
    const kinds = all.map(({ kind, metadata }) => `${kind} ${metadata.name} ${metadata.namespace}`).sort();
    expect(kinds).toEqual(
      ['PodDisruptionBudget', 'Service', 'StatefulSet'].flatMap((kind) => ['dc1', 'dc2', 'hub'].map((site) => `${kind} ${site} vigo`)),
    );
    for (const { kind, metadata, spec } of all) {
      const labels = all.find((each) => each.kind === 'StatefulSet' && each.metadata.name === metadata.name)!.spec.template!.metadata
        .labels;
      expect(labels).toMatchObject((kind === 'Service' ? spec.selector : spec.selector?.matchLabels) ?? {});
      if (kind !== 'StatefulSet') continue;
      const pod = spec.template!.spec;
      const [server] = pod.containers;
      const env = Object.fromEntries(server!.env.map(({ name, value }) => [name, value]));
      const isHub = metadata.name === 'hub';
      expect(env).toMatchObject({ VIGO_ROLE: isHub ? 'hub' : 'spoke', VIGO_HOSTNAME: `${metadata.name}.vigo.svc` });
      if (!isHub) expect(env).toMatchObject({ VIGO_SPOKE: metadata.name, VIGO_HUB: 'hub.vigo.svc', VIGO_DRAIN_ON_STOP: 'false' });
      expect(pod.securityContext.runAsNonRoot).toBe(true);
      expect(server!.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      const volumes = new Set([...pod.volumes.map(({ name }) => name), ...spec.volumeClaimTemplates!.map((claim) => claim.metadata.name)]);
      for (const { name } of server!.volumeMounts) expect(volumes).toContain(name);
      for (const { secret } of pod.volumes) if (secret !== undefined) expect(secret.secretName).toMatch(new RegExp(`-${metadata.name}$`));
      // programs of the image
      const commands = [
        server!.startupProbe.exec.command,
        ...(server!.lifecycle === undefined ? [] : [server!.lifecycle.preStop.exec.command]),
      ];
      expect(commands).toHaveLength(isHub ? 1 : 2);
      for (const [program] of commands) expect(existsSync(join(root, program!.replace('/opt/vigo/', '')))).toBe(true);
    }
  });
});

describe('compose', () => {
  const compose = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
    services: Record<
      string,
      { build?: { dockerfile: string }; networks?: string[]; volumes?: string[]; user?: string; cap_drop?: string[] }
    >;
    networks: Record<string, unknown>;
    volumes: Record<string, unknown>;
  };

  test('names networks, volumes and Dockerfiles that exist; servers have no capabilities', () => {
    for (const [name, service] of Object.entries(compose.services)) {
      for (const network of service.networks ?? []) expect(Object.keys(compose.networks)).toContain(network);
      for (const volume of service.volumes ?? []) {
        const [source] = volume.split(':');
        if (!source!.startsWith('/')) expect(Object.keys(compose.volumes)).toContain(source);
      }
      if (service.build !== undefined) expect(existsSync(join(root, service.build.dockerfile))).toBe(true);
      if (['hub', 'region1', 'region2'].includes(name)) expect(service.cap_drop).toEqual(['ALL']);
    }
  });

  test('the server image runs as a user of its own, in several stages, with a health check', () => {
    const text = readFileSync(join(root, 'deploy/docker/server.Dockerfile'), 'utf8');
    expect(text.match(/^FROM /gm)!.length).toBeGreaterThanOrEqual(3);
    expect(text).toMatch(/^USER vigo$/m);
    expect(text).toMatch(/^HEALTHCHECK /m);
  });
});
