/** Where things lie in the server's data directory (server.md §1.3). */
import { join } from 'node:path';

export interface DataPaths {
  readonly root: string;
  readonly settings: string;
  readonly stage: string;
  readonly releases: string;
  readonly live: string;
  readonly database: string;
  readonly secrets: string;
  readonly masterKey: string;
  readonly keys: string;
  readonly tls: string;
  readonly audit: string;
  readonly temp: string;
  readonly run: string;
}

export function dataPaths(root: string): DataPaths {
  const at = (...parts: string[]) => join(root, ...parts);
  return {
    root,
    settings: at('server.yaml'),
    stage: at('stacks'),
    releases: at('releases'),
    live: at('live'),
    database: at('db', 'vigo.db'),
    secrets: at('secrets'),
    masterKey: at('master.key'),
    keys: at('keys'),
    tls: at('tls'),
    audit: at('audit'),
    temp: at('tmp'),
    run: at('run'),
  };
}
