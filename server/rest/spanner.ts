/** Routes of the hub on servers that are none: each says who is to be asked. */
import { ROUTES } from '../../core/api/index.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { Handler } from './handler.ts';
import type { RestParts } from './parts.ts';

/** @throws CodedError ASK_HUB at a spoke, UNIMPLEMENTED at a stand-alone server */
export function askHub({ settings }: Pick<RestParts, 'settings'>): never {
  const { role, hub_addr: hubs } = settings.spanner;
  if (role === 'spoke')
    throw new CodedError('ASK_HUB', 'this server is a spoke, and the command belongs to the hub', {
      hint: `ask the hub at ${hubs?.join(' or ') ?? ''}`,
    });
  throw new CodedError('UNIMPLEMENTED', 'this server is stand-alone: it has no spokes', {
    hint: 'a hub is made with: vigosrv init --role hub',
  });
}

export function spannerHandlers(parts: RestParts): readonly Handler[] {
  return ROUTES.filter(({ name }) => name.startsWith('spanner.')).map((contract) => ({ contract, handle: () => askHub(parts) }));
}
