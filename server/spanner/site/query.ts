/** Answers questions of the hub with the site's own REST handlers; who may ask what is decided here again. */
import type { RouteContract } from '../../../core/api/route.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { type Principal, requirePermission } from '../../access/permissions.ts';
import { permissionsOf } from '../../access/roles.ts';
import type { Handler, HandlerInput } from '../../rest/handler.ts';
import { parseInput } from '../../rest/input.ts';
import { toCoded } from '../../rest/problem.ts';
import { query } from '../kinds/query.ts';
import { type Answer, answersWithData } from '../link.ts';

/** Routes that a hub may ask for; nothing else of the API is reached over a link. */
export const ASKED_ROUTES: readonly string[] = [
  'audit.list',
  'enrollments.approve',
  'enrollments.pending',
  'enrollments.reject',
  'envoys.delete',
  'envoys.get',
  'envoys.list',
  'envoys.policy',
  'envoys.push',
  'envoys.revoke',
  'envoys.runs',
  'envoys.traits',
  'fleet.summary',
  'runs.get',
  'runs.list',
  'secrets.refs',
  'tokens.get',
  'tokens.list',
  'tokens.revoke',
];

interface AskedBy {
  readonly kind: 'token' | 'local' | 'user';
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly permissions: readonly string[];
  readonly address: string;
  readonly claimedBy?: string | undefined;
}

/** Whoever asked the hub, with no more than this server gives the role. */
export function principalOf(asker: AskedBy): Principal {
  const { kind, id, name, role, address, claimedBy } = asker;
  const said: ReadonlySet<string> = new Set(asker.permissions);
  const permissions = new Set([...permissionsOf(role)].filter((permission) => said.has(permission)));
  return { kind, id, name, role, permissions, address, ...(claimedBy === undefined ? {} : { claimedBy }) };
}

function assertPermitted({ permission }: RouteContract, principal: Principal): void {
  if (permission === 'public' || permission === 'signed-in') return;
  if (permission === 'agent' || permission === 'metrics') throw new CodedError('PERMISSION_DENIED', 'this is not asked over a link');
  requirePermission(principal, permission);
}

/** @param handlers of the site's own data */
export function answerQueries(handlers: readonly Handler[]): Answer {
  const asked = new Map(handlers.filter(({ contract }) => ASKED_ROUTES.includes(contract.name)).map((each) => [each.contract.name, each]));
  return answersWithData(query, async (question, { signal }) => {
    const found = asked.get(question.route);
    if (found === undefined) throw new CodedError('UNIMPLEMENTED', `"${question.route}" is not asked over a link`);
    const { contract } = found;
    const principal = principalOf(question.principal);
    assertPermitted(contract, principal);
    let { status } = contract;
    const headers: Record<string, string> = {};
    const input: HandlerInput<unknown, unknown, unknown> = {
      ...parseInput(contract, question),
      principal,
      address: principal.address,
      requestId: question.request_id,
      signal,
      status: (code) => {
        status = code;
      },
      header: (name, value) => {
        headers[name] = value;
      },
    };
    const body = await answered(found, question.part, input);
    const data = Buffer.from(JSON.stringify(body ?? null));
    if (data.byteLength > question.max_bytes)
      throw new CodedError('TOO_LARGE', `the answer has ${data.byteLength} bytes, the hub takes ${question.max_bytes}`, {
        hint: 'ask for less with --limit',
      });
    return { body: { status, headers }, data };
  });
}

async function answered(
  { contract, handle, current }: Handler,
  part: 'answer' | 'current',
  input: HandlerInput<unknown, unknown, unknown>,
): Promise<unknown> {
  try {
    if (part === 'current') return await current?.(input);
    const checked = contract.reply.safeParse(await handle(input));
    if (!checked.success) throw new Error(`the reply of ${contract.name} breaks its contract: ${checked.error.message.slice(0, 500)}`);
    return checked.data;
  } catch (thrown) {
    throw toCoded(thrown);
  }
}
