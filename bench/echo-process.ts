/** The floor of a check-in: the same transport, certificates and message sizes, no signature, no policy. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { newSigningKey, sign, verify } from '../core/crypto/ed25519.ts';
import { readKeyFile } from '../core/crypto/key-file.ts';
import { dataPaths } from '../server/identity/paths.ts';
import { serve, usageNow } from './child.ts';
import { readSite } from './site.ts';

const dataDir = process.argv[2]!;
const replyBytes = Number(process.argv[3]);
const site = readSite(dataDir);
const { tls } = dataPaths(dataDir);
const chain = readFileSync(join(tls, 'server.pem'), 'utf8') + readFileSync(join(tls, 'site-ca.pem'), 'utf8');
const raw = (value: Buffer): Buffer => value;
const service: ServiceDefinition = {
  echo: {
    path: '/bench/Echo',
    requestStream: false,
    responseStream: false,
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  },
};
const server = new Server();
const reply = Buffer.alloc(replyBytes, 10);
const handlers: UntypedServiceImplementation = {
  echo: (_call: unknown, callback: (error: null, value: Buffer) => void) => callback(null, reply),
};
server.addService(service, handlers);
const injector = server.createConnectionInjector(
  ServerCredentials.createSsl(
    Buffer.from(site.rootCa),
    [{ cert_chain: Buffer.from(chain), private_key: Buffer.from(readKeyFile(join(tls, 'server.key'))) }],
    true,
  ),
);
const listener = createServer({ noDelay: true }, (socket) => injector.injectConnection(socket)).listen(
  { port: 0, host: '127.0.0.1' },
  () => {
    const address = listener.address();
    process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
  },
);
const delay = monitorEventLoopDelay({ resolution: 10 });
delay.enable();

/** CPU microseconds of one bare verification of a message of this length. */
function verifyCost(bytes: number, times: number): number {
  const key = newSigningKey();
  const message = Buffer.alloc(bytes, 7);
  const signature = sign(key.secretKey, message);
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) if (!verify(key.publicKey, message, signature)) throw new Error('a good signature was refused');
  const { user, system } = process.cpuUsage(before);
  return (user + system) / times;
}

serve((question) => {
  if (typeof question === 'object' && question !== null && 'verifyBytes' in question)
    return { verifyUs: verifyCost(Number(question.verifyBytes), 1_000) };
  if (question !== 'delay') return usageNow();
  const delayMs = delay.max / 1e6;
  delay.reset();
  return { delayMs };
});
