/** Handlers of secrets: values go in, and come out by `reveal` alone, recorded first. */
import { deleteSecret, listSecrets, putSecret, revealSecret, type SecretItem, secretMeta, secretRefs } from '../../core/api/secrets.ts';
import { CodedError } from '../../core/base/errors.ts';
import { actorOf, type Principal } from '../access/permissions.ts';
import { requireSecretPath } from '../secrets/provider.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';

const MAX_VALUE = 64 * 1024;

function missing(path: string): CodedError {
  return new CodedError('SECRET_MISSING', `no secret at ${path}`);
}

export function secretHandlers(parts: RestParts): readonly Handler[] {
  const { secrets, config, store, trail, clock } = parts;
  const usedBy = async (): Promise<ReadonlyMap<string, readonly string[]>> => {
    const uses = new Map<string, Set<string>>();
    for (const { ref, entries } of await config.secretRefs()) {
      const path = ref.split('#')[0]!;
      const known = uses.get(path) ?? new Set();
      for (const entry of entries) known.add(entry);
      uses.set(path, known);
    }
    return new Map([...uses].map(([path, entries]) => [path, [...entries].sort()]));
  };
  const meta = async (path: string): Promise<SecretItem | undefined> => {
    requireSecretPath(path);
    const found = await secrets.exists(path);
    if (found === null) return undefined;
    return { path, version: found.version, changed_at: null, used_by: [...((await usedBy()).get(path) ?? [])] };
  };
  const note = (event: string, path: string, by: Principal, requestId: string, data: Readonly<Record<string, string>>) =>
    store.transaction(
      async (tx) =>
        void (await trail.record(tx, { actor: actorOf(by), event, target: { kind: 'secret', id: path }, outcome: 'ok', requestId, data })),
    );
  return [
    handler(listSecrets, async ({ query }) => {
      if (secrets.list === undefined) throw new CodedError('UNIMPLEMENTED', `the secret provider ${secrets.name} cannot list`);
      const uses = await usedBy();
      const after = readCursor('secrets', query.cursor, 'string', clock.now());
      const paths: string[] = [];
      for await (const path of secrets.list(query.prefix ?? '')) if (after === undefined || path > after) paths.push(path);
      paths.sort();
      const items: SecretItem[] = [];
      for (const path of paths.slice(0, query.limit)) {
        const version = (await secrets.exists(path))?.version;
        if (version !== undefined) items.push({ path, version, changed_at: null, used_by: [...(uses.get(path) ?? [])] });
      }
      return page(items, paths.length > query.limit ? writeCursor('secrets', paths[query.limit - 1]!, clock.now()) : null);
    }),
    handler(secretMeta, async ({ params }) => {
      const found = await meta(params.path);
      if (found === undefined) throw missing(params.path);
      return found;
    }),
    handler(secretRefs, async ({ query }) => {
      const refs = (await config.secretRefs()).filter(({ ref }) => query.path === undefined || ref.split('#')[0] === query.path);
      const items = [];
      for (const each of refs) {
        const isMissing = (await secrets.exists(each.ref.split('#')[0]!)) === null;
        if (query.missing !== true || isMissing) items.push({ ...each, missing: isMissing });
      }
      return { items };
    }),
    handler(
      putSecret,
      async ({ params, body, principal, requestId }) => {
        requireSecretPath(params.path);
        if (secrets.set === undefined) throw new CodedError('UNIMPLEMENTED', `the secret provider ${secrets.name} is read only here`);
        const value = Buffer.from(body.value, 'base64');
        if (value.length > MAX_VALUE) throw new CodedError('TOO_LARGE', 'a secret is at most 64 KiB');
        await note('secret.set', params.path, principal, requestId, {});
        await secrets.set(params.path, value);
        value.fill(0);
        const version = (await secrets.exists(params.path))?.version ?? '';
        return { path: params.path, version, envoys: await config.secretChanged(params.path) };
      },
      ({ params }) => meta(params.path),
    ),
    handler(
      deleteSecret,
      async ({ params, principal, requestId }) => {
        requireSecretPath(params.path);
        if (secrets.remove === undefined) throw new CodedError('UNIMPLEMENTED', `the secret provider ${secrets.name} is read only here`);
        if ((await secrets.exists(params.path)) === null) throw missing(params.path);
        await note('secret.deleted', params.path, principal, requestId, {});
        await secrets.remove(params.path);
        await config.secretChanged(params.path);
        return { path: params.path, status: 'deleted' as const };
      },
      ({ params }) => meta(params.path),
    ),
    handler(revealSecret, async ({ params, body, principal, requestId }) => {
      requireSecretPath(params.path);
      if ((await secrets.exists(params.path)) === null) throw missing(params.path);
      await note('secret.revealed', params.path, principal, requestId, { reason: body.reason });
      const found = await secrets.get(params.path);
      if (found === null) throw missing(params.path);
      return { path: params.path, version: found.version, value: Buffer.from(found.value).toString('base64') };
    }),
  ];
}
