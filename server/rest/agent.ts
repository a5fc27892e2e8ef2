/** Large bodies for agents. */
import { getBody } from '../../core/api/agent.ts';
import { CodedError } from '../../core/base/errors.ts';
import { type Handler, handler } from './handler.ts';
import type { RestParts } from './parts.ts';

export function agentHandlers({ releases }: RestParts): readonly Handler[] {
  return [
    handler(getBody, ({ params, principal, header }) => {
      const body = releases.bodyOf(principal.name, params.sha256);
      if (body === undefined) throw new CodedError('NOT_FOUND', 'no such body was issued to this envoy');
      header('content-type', 'application/json');
      return Buffer.from(body);
    }),
  ];
}
