/** A whole site in one process: server core, publishing, REST and the local admin socket; what `vigosrv run` starts. */
import { resolve } from 'node:path';
import { splitListen } from './addresses.ts';
import { keepHouse } from './housekeeping.ts';
import type { ServerParts } from './parts.ts';
import { openPublishing } from './publish/publishing.ts';
import { createRestServer } from './rest/app.ts';
import { restParts } from './rest/parts.ts';
import { type ServerOptions, startServer } from './server.ts';

export interface RunningSite {
  readonly parts: ServerParts;
  readonly rpcPort: number;
  readonly apiPort: number;
  stop(): Promise<void>;
}

/** @throws CodedError with the exit code of server.md §3; what was started is stopped again */
export async function startSite(options: ServerOptions): Promise<RunningSite> {
  const server = await startServer(options);
  const { parts, rpcPort } = server;
  const stops: (() => Promise<void>)[] = [() => server.stop()];
  const stop = async () => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const publishing = await openPublishing(parts);
    stops.push(() => publishing.stop());
    const rest = await createRestServer(restParts(parts, publishing.port));
    stops.push(() => rest.close());
    const { api_listen: apiListen, local_socket: localSocket } = parts.settings.server;
    const { host, port } = splitListen(apiListen);
    const apiPort = await rest.listen(host, port);
    stops.push(
      keepHouse(parts, async () => {
        const renewed = await server.renewCertificate();
        if (renewed !== undefined) rest.renewCertificate(renewed);
      }),
    );
    if (localSocket !== 'off') await rest.listenLocal(resolve(options.dataDir, localSocket));
    parts.log.info('the server is up', { rpc_port: rpcPort, api_port: apiPort, release: parts.releases.live?.number ?? 0 });
    return { parts, rpcPort, apiPort, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}
