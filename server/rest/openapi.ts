/** The contracts as OpenAPI 3.1: made from the objects that serve the requests. */
import { z } from 'zod';
import { ROUTES } from '../../core/api/index.ts';
import type { RouteContract } from '../../core/api/route.ts';
import { ERROR_CODES } from '../../core/base/errors.ts';

const COMMON = ['BAD_REQUEST', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'NOT_FOUND', 'RATE_LIMITED'] as const;

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const { $schema: _schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Record<string, unknown>;
  return rest;
}

function parametersOf(schema: z.ZodType, where: 'path' | 'query'): unknown[] {
  const shape = (schema as { shape?: Record<string, z.ZodType> }).shape ?? {};
  return Object.entries(shape).map(([name, each]) => ({
    name,
    in: where,
    required: where === 'path' || !each.safeParse(undefined).success,
    schema: schemaOf(each, 'input'),
  }));
}

function operationOf(contract: RouteContract): Record<string, unknown> {
  const isOpen = contract.permission === 'public' || contract.permission === 'metrics';
  const codes = [...(isOpen ? (['BAD_REQUEST', 'RATE_LIMITED'] as const) : COMMON), ...contract.codes];
  const byStatus = Map.groupBy(codes, (code) => String(ERROR_CODES[code].http ?? 500));
  const type = contract.form === 'text' ? 'text/plain' : contract.form === 'events' ? 'text/event-stream' : 'application/json';
  const errors = [...byStatus].map(
    ([status, all]) => [status, { description: [...new Set(all)].join(', '), content: { 'application/problem+json': {} } }] as const,
  );
  return {
    operationId: contract.name,
    summary: contract.summary,
    'x-permission': contract.permission,
    parameters: [...parametersOf(contract.params, 'path'), ...parametersOf(contract.query, 'query')],
    ...(contract.method === 'POST' || contract.method === 'PUT' || contract.method === 'PATCH'
      ? { requestBody: { required: true, content: { 'application/json': { schema: schemaOf(contract.body, 'input') } } } }
      : {}),
    responses: {
      [contract.status]: { description: 'done', content: { [type]: { schema: schemaOf(contract.reply, 'output') } } },
      ...Object.fromEntries(errors),
    },
    ...(isOpen ? {} : { security: [{ bearer: [] }] }),
  };
}

export function openApi(version: string): Record<string, unknown> & { openapi: string } {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const contract of ROUTES) {
    paths[contract.path] ??= {};
    paths[contract.path]![contract.method.toLowerCase()] = operationOf(contract);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'vigo', version },
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
    paths,
  };
}
