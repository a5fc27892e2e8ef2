/** What a handler of the REST API is: a contract and the code behind it. */
import type { z } from 'zod';
import type { RouteContract } from '../../core/api/route.ts';
import type { Principal } from '../access/permissions.ts';

export interface HandlerInput<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  /** of public routes: nobody, with the address alone */
  readonly principal: Principal;
  readonly address: string;
  readonly requestId: string;
  /** aborts when the caller goes away */
  readonly signal: AbortSignal;
  /** a status other than the contract's */
  status(code: number): void;
  header(name: string, value: string): void;
}

export type Handler = {
  readonly contract: RouteContract;
  /** an async iterable for `events` */
  handle(input: HandlerInput<unknown, unknown, unknown>): unknown;
  /** the thing that If-Match is compared with; answers what GET would */
  current?(input: HandlerInput<unknown, unknown, unknown>): Promise<unknown>;
};

export function handler<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, R extends z.ZodType>(
  contract: RouteContract<P, Q, B, R>,
  handle: (input: HandlerInput<z.output<P>, z.output<Q>, z.output<B>>) => z.input<R> | Promise<z.input<R>> | AsyncIterable<z.input<R>>,
  current?: (input: HandlerInput<z.output<P>, z.output<Q>, z.output<B>>) => Promise<unknown>,
): Handler {
  return {
    contract: contract as unknown as RouteContract,
    handle: (input) => handle(input as HandlerInput<z.output<P>, z.output<Q>, z.output<B>>),
    ...(current === undefined ? {} : { current: (input) => current(input as HandlerInput<z.output<P>, z.output<Q>, z.output<B>>) }),
  };
}

/** Own handlers, with others in place of those of the same name. */
export function replaceHandlers(own: readonly Handler[], others: readonly Handler[]): readonly Handler[] {
  const names = new Set(others.map(({ contract }) => contract.name));
  return [...own.filter(({ contract }) => !names.has(contract.name)), ...others];
}
