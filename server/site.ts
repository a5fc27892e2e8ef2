/** A whole site in one process: server core, publishing, REST and the local admin socket; what `vigosrv run` starts. */
import { resolve } from 'node:path';
import { splitListen } from './addresses.ts';
import { keepHouse } from './housekeeping.ts';
import type { ServerParts } from './parts.ts';
import { openPublishing } from './publish/publishing.ts';
import { createRestServer } from './rest/app.ts';
import { handlersOf } from './rest/index.ts';
import { restParts } from './rest/parts.ts';
import type { SiteRole } from './role.ts';
import { type ServerOptions, startServer } from './server.ts';

export interface RunningSite {
  readonly parts: ServerParts;
  readonly rpcPort: number;
  readonly apiPort: number;
  stop(): Promise<void>;
}

/**
 * @param role what a hub or a spoke adds; a stand-alone server has none
 * @throws CodedError with the exit code of server.md §3; what was started is stopped again
 */
export async function startSite(options: ServerOptions, role?: SiteRole): Promise<RunningSite> {
  const server = await startServer(options);
  const { parts, rpcPort } = server;
  const stops: (() => Promise<void>)[] = [() => server.stop()];
  const stop = async () => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    const publishing = await openPublishing(parts);
    stops.push(() => publishing.stop());
    const served = restParts(parts, publishing.port);
    const ownHandlers = handlersOf(served);
    const started = await role?.({ parts, publishing, rest: served, ownHandlers, rpcPort });
    if (started !== undefined) stops.push(() => started.stop());
    const rest = await createRestServer(served, started?.handlers ?? ownHandlers);
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
    await started?.up({ rpcPort, apiPort });
    parts.log.info('the server is up', { rpc_port: rpcPort, api_port: apiPort, release: parts.releases.live?.number ?? 0 });
    return { parts, rpcPort, apiPort, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}
