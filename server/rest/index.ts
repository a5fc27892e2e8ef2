/** All handlers, by noun. */
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

export function handlersOf(parts: RestParts): readonly Handler[] {
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
