/** What an executor says when the machine has no backend for its subject. */
import { CodedError } from '../../core/base/errors.ts';

/** @throws CodedError UNSUPPORTED */
export function backend<T>(found: T | undefined, what: string): T {
  if (found === undefined) throw new CodedError('UNSUPPORTED', `this machine has no ${what} that vigo knows`);
  return found;
}
