/** Loaded into an agent before it starts (`--import`): every gRPC message it sends or gets is appended, as it is before and after TLS, to the file VIGO_TEST_TAP. */
import { appendFileSync } from 'node:fs';
import { Client } from '@grpc/grpc-js';

const file = process.env['VIGO_TEST_TAP'];
type Call = (...args: unknown[]) => unknown;
const prototype = Client.prototype as unknown as { makeUnaryRequest: Call };
const original = prototype.makeUnaryRequest;

if (file !== undefined) {
  prototype.makeUnaryRequest = function tapped(this: unknown, ...args: unknown[]) {
    appendFileSync(file, `\n${String(args[0])}\n`);
    const [request, callback] = [args[3] as Buffer, args.at(-1) as (error: unknown, reply?: Buffer) => void];
    appendFileSync(file, request);
    args[args.length - 1] = (error: unknown, reply?: Buffer) => {
      if (reply !== undefined) appendFileSync(file, reply);
      callback(error, reply);
    };
    return original.apply(this, args);
  };
}
