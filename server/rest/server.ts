/** Handlers about the server itself. */
import { bootstrapCa, getDoctor, getMetrics, getOpenApi, getSuccession, getVersion, healthz, readyz } from '../../core/api/server.ts';
import { CodedError } from '../../core/base/errors.ts';
import { PROTOCOL_VERSION } from '../../proto/load.ts';
import { doctorReply, examine, notReady } from '../observe/doctor.ts';
import { type Handler, handler } from './handler.ts';
import { openApi } from './openapi.ts';
import type { RestParts } from './parts.ts';

export function serverHandlers(parts: RestParts): readonly Handler[] {
  const { identity, metrics, version } = parts;
  const description = openApi(version);
  return [
    handler(healthz, () => 'ok\n'),
    handler(readyz, ({ status }) => {
      const reasons = notReady(parts);
      if (reasons.length > 0) status(503);
      return { ready: reasons.length === 0, reasons: [...reasons] };
    }),
    handler(getVersion, () => ({
      version,
      node: process.versions.node,
      protocol: PROTOCOL_VERSION,
      fleet_id: identity.fleetId,
      site_id: identity.siteId,
      role: parts.settings.spanner.role,
    })),
    handler(getOpenApi, () => description),
    handler(getMetrics, async ({ header }) => {
      header('content-type', metrics.contentType);
      return await metrics.text();
    }),
    handler(getSuccession, () => {
      if (identity.succession === undefined) throw new CodedError('NOT_FOUND', 'this server was always of this fleet');
      return identity.succession.signed;
    }),
    handler(bootstrapCa, ({ header }) => {
      header('content-type', 'application/x-pem-file');
      return identity.rootCa;
    }),
    handler(getDoctor, async () => doctorReply(await examine(parts))),
  ];
}
