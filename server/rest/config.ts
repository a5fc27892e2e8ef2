/** Handlers of configuration and releases; the work is server/publish's. */
import {
  configStatus,
  configTree,
  configVersion,
  getRelease,
  listReleases,
  publishConfig,
  type ReleaseItem,
  rollbackConfig,
  traceConfig,
  validateConfig,
} from '../../core/api/config.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { ReleaseRow } from '../store/store.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, timeText, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';
import { withPredictions } from './predictions.ts';

function releaseItem(row: ReleaseRow, live: number | undefined): ReleaseItem {
  return {
    number: row.number,
    version: row.version,
    root: row.root,
    author: row.author,
    approver: row.approver,
    message: row.message,
    created_at: timeText(row.createdAt),
    files: { ...row.files },
    entries_affected: row.entriesAffected,
    envoys_affected: row.envoysAffected,
    warnings: row.warnings,
    flags: [...row.flags],
    rollback_of: row.rollbackOf > 0 ? row.rollbackOf : null,
    result: row.result,
    live: row.number === live,
  };
}

export function configHandlers(parts: RestParts): readonly Handler[] {
  const { config, store, clock, releases } = parts;
  return [
    handler(configVersion, async () => {
      const { live, loaded } = await config.status();
      return { live, loaded };
    }),
    handler(configStatus, () => config.status()),
    handler(validateConfig, async ({ body }) => {
      const { root, findings } = await config.validate(body);
      const count = (severity: string) => findings.filter((finding) => finding.severity === severity).length;
      return { root, errors: count('error'), warnings: count('warning'), findings: [...findings] };
    }),
    handler(publishConfig, ({ body, principal, requestId }) => {
      if (body.rings === true) throw new CodedError('BAD_REQUEST', 'rings are spokes: only a hub rolls out by ring');
      return config.publish(body, principal, requestId);
    }),
    handler(rollbackConfig, ({ body, principal, requestId }) => config.rollback(body, principal, requestId)),
    handler(listReleases, async ({ query }) => {
      const rows = await store.releases.list(query.limit, readCursor('releases', query.cursor, 'number', clock.now()));
      const last = rows.length === query.limit ? rows.at(-1) : undefined;
      return page(
        rows.map((row) => releaseItem(row, releases.live?.number)),
        last === undefined ? null : writeCursor('releases', last.number, clock.now()),
      );
    }),
    handler(getRelease, async ({ params }) => {
      const row = await store.releases.byNumber(params.number);
      if (row === undefined) throw new CodedError('NOT_FOUND', `no release ${params.number}`);
      return { ...releaseItem(row, releases.live?.number), manifest: ((await config.manifest(params.number)) ?? null) as never };
    }),
    handler(traceConfig, async ({ query }) => withPredictions(parts, await config.trace(query))),
    handler(configTree, ({ query }) => config.tree(query)),
  ];
}
