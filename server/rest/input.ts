/** Checks what came in against the contract; unknown fields are refused with the name that was probably meant. */
import type { z } from 'zod';
import type { RouteContract } from '../../core/api/route.ts';
import { didYouMean } from '../../core/base/did-you-mean.ts';
import { CodedError } from '../../core/base/errors.ts';

const MAX_DEPTH = 32;
const MAX_KEYS = 10_000;

function knownNames(schema: z.ZodType): readonly string[] {
  return Object.keys((schema as { shape?: object }).shape ?? {});
}

interface RequestFinding {
  readonly path: string;
  readonly rule: string;
  readonly message: string;
}

function check(schema: z.ZodType, value: unknown, where: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const findings: RequestFinding[] = parsed.error.issues.slice(0, 20).flatMap((issue): RequestFinding[] => {
    const path = [where, ...issue.path.map(String)].join('.');
    if (issue.code !== 'unrecognized_keys') return [{ path, rule: issue.code, message: issue.message.slice(0, 200) }];
    return issue.keys.slice(0, 5).map((key) => {
      const hint = didYouMean(key, knownNames(schema));
      return {
        path: `${path}.${key.slice(0, 64)}`,
        rule: 'unknown_field',
        message: `unknown field${hint === undefined ? '' : `, ${hint}`}`,
      };
    });
  });
  const first = findings[0]!;
  throw new CodedError('BAD_REQUEST', `${first.path}: ${first.message}`, { details: { findings } });
}

/** @throws CodedError BAD_REQUEST when a body is deeper or wider than any that is meant */
export function checkShape(value: unknown): void {
  let keys = 0;
  const walk = (item: unknown, depth: number): void => {
    if (typeof item !== 'object' || item === null) return;
    if (depth > MAX_DEPTH) throw new CodedError('BAD_REQUEST', `the body nests deeper than ${MAX_DEPTH}`);
    const members = Object.values(item);
    keys += members.length;
    if (keys > MAX_KEYS) throw new CodedError('BAD_REQUEST', `the body holds more than ${MAX_KEYS} values`);
    for (const member of members) walk(member, depth + 1);
  };
  walk(value, 0);
}

export interface ParsedInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

/** @throws CodedError BAD_REQUEST */
export function parseInput(
  contract: RouteContract,
  request: { readonly params: unknown; readonly query: unknown; readonly body: unknown },
): ParsedInput {
  checkShape(request.body);
  return {
    params: check(contract.params, { ...(request.params as object) }, 'path'),
    query: check(contract.query, { ...(request.query as object) }, 'query'),
    body: check(contract.body, request.body ?? {}, 'body'),
  };
}
