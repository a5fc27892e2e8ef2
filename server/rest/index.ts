/** All handlers, by noun. */

import { CodedError } from '../../core/base/errors.ts';
import { agentHandlers } from './agent.ts';
import { auditHandlers } from './audit.ts';
import { configHandlers } from './config.ts';
import { enrollmentHandlers } from './enrollments.ts';
import { envoyHandlers } from './envoys.ts';
import type { Handler } from './handler.ts';
import type { RestParts } from './parts.ts';
import { runHandlers } from './runs.ts';
import { secretHandlers } from './secrets.ts';
import { serverHandlers } from './server.ts';
import { sessionHandlers } from './session.ts';
import { spannerHandlers } from './spanner.ts';
import { tokenHandlers } from './tokens.ts';

/** `?spoke=` names one of a hub's sites; any other server has itself alone. */
function ofThisSite({ contract, handle, ...rest }: Handler, siteId: string): Handler {
  return {
    ...rest,
    contract,
    handle: (input) => {
      const { spoke } = {
        ...(input.query as { spoke?: string }),
        ...(contract.name === 'envoys.push' ? (input.body as { spoke?: string }) : {}),
      };
      if (spoke !== undefined && spoke !== siteId)
        throw new CodedError('NOT_FOUND', `this server has no spoke ${spoke.slice(0, 64)}, it is the site ${siteId}`);
      return handle(input);
    },
  };
}

const BY_SPOKE = [
  'audit.list',
  'enrollments.pending',
  'envoys.list',
  'envoys.push',
  'fleet.summary',
  'runs.get',
  'runs.list',
  'runs.stream',
  'secrets.refs',
  'tokens.list',
];

export function handlersOf(parts: RestParts): readonly Handler[] {
  return everyHandler(parts).map((each) => (BY_SPOKE.includes(each.contract.name) ? ofThisSite(each, parts.identity.siteId) : each));
}

function everyHandler(parts: RestParts): readonly Handler[] {
  return [
    ...agentHandlers(parts),
    ...auditHandlers(parts),
    ...configHandlers(parts),
    ...enrollmentHandlers(parts),
    ...envoyHandlers(parts),
    ...runHandlers(parts),
    ...secretHandlers(parts),
    ...serverHandlers(parts),
    ...sessionHandlers(parts),
    ...spannerHandlers(parts),
    ...tokenHandlers(parts),
  ];
}
