import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { flag } from '../../core/command/flags.ts';
import { parseJoinToken } from '../identity/join-token.ts';
import { initSite, JOIN_TOKEN } from '../init.ts';
import { dataDirOf, serverCommand, systemHostname } from './globals.ts';

/** Beside the sources; a packaged server starts with an empty stage. */
const exampleTree = fileURLToPath(new URL('../../deploy/config-example', import.meta.url));

interface RoleFlags {
  readonly role?: 'standalone' | 'hub' | 'spoke' | undefined;
  readonly hubAddr?: readonly string[] | undefined;
  readonly spokeId?: string | undefined;
  readonly joinTokenFile?: string | undefined;
}

/** The section `spanner` of the new settings. @throws CodedError USAGE */
function roleSettings(flags: RoleFlags): { readonly token?: string; readonly spanner?: Readonly<Record<string, unknown>> } {
  const { role = 'standalone', joinTokenFile } = flags;
  const hubAddr = flags.hubAddr ?? [];
  if (role !== 'spoke') {
    if (hubAddr.length > 0 || flags.spokeId !== undefined || joinTokenFile !== undefined)
      throw new CodedError('USAGE', '--hub-addr, --spoke-id and --join-token-file belong to --role spoke');
    return role === 'hub' ? { spanner: { role } } : {};
  }
  const token = joinTokenFile === undefined ? undefined : readFileSync(joinTokenFile, 'utf8').trim();
  const spokeId = flags.spokeId ?? (token === undefined ? undefined : parseJoinToken(token).spokeId);
  if (hubAddr.length === 0 || spokeId === undefined)
    throw new CodedError('USAGE', 'a spoke needs --hub-addr, and --spoke-id or --join-token-file');
  const spanner = { role, spoke_id: spokeId, hub_addr: [...hubAddr], join_token_file: JOIN_TOKEN };
  return token === undefined ? { spanner } : { token, spanner };
}

export const init = serverCommand({
  name: ['init'],
  summary: 'make a new site in an empty data directory',
  details: 'Makes fleet id, root key, root CA, site CA, server key, master key, settings, database and an example tree in stacks/.',
  flags: z.object({
    hostname: flag.text('name that agents dial (default: this machine)', { value: 'name' }),
    role: flag.oneOf(['standalone', 'hub', 'spoke'], 'role of the site (default standalone)'),
    hubAddr: flag.many('of a spoke: the hub, where agents dial it', { value: 'host:port' }),
    spokeId: flag.text('of a spoke: its id, as in the join token', { value: 'id' }),
    joinTokenFile: flag.text('of a spoke: what "vigocli spanner spoke add" printed; read now, used at the first start', { value: 'file' }),
    databaseUrlFile: flag.text('file with the URL of a PostgreSQL database (default: SQLite in the data directory)', { value: 'file' }),
    admin: flag.text('name of the first admin account (default admin)', { value: 'user' }),
    offlineRoot: flag.text('write root.key and root-ca.key there instead', { value: 'dir' }),
    forceEmpty: flag.on('write beside files that are there already (never over keys or a database)'),
    grpcListen: flag.text('server.grpc_listen', { value: 'host:port' }),
    apiListen: flag.text('server.api_listen', { value: 'host:port' }),
    advertise: flag.text('server.advertise', { value: 'host:port' }),
    publicUrl: flag.text('server.public_url', { value: 'url' }),
  }),
  async run({ flags, globals }, io) {
    const { token, spanner } = roleSettings(flags);
    const dataDir = dataDirOf(globals, io.env);
    const given = { grpc_listen: flags.grpcListen, api_listen: flags.apiListen, advertise: flags.advertise, public_url: flags.publicUrl };
    const server = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const admin = flags.admin ?? 'admin';
    const database =
      flags.databaseUrlFile === undefined ? undefined : { driver: 'postgres', url: readFileSync(flags.databaseUrlFile, 'utf8').trim() };
    const result = await initSite({
      dataDir,
      hostname: flags.hostname ?? systemHostname(),
      admin,
      offlineRoot: flags.offlineRoot,
      forceEmpty: flags.forceEmpty,
      // a spoke takes its policy from the hub
      exampleTree: flags.role !== 'spoke' && existsSync(exampleTree) ? exampleTree : undefined,
      joinToken: token,
      settings: { server, ...(spanner === undefined ? {} : { spanner }), ...(database === undefined ? {} : { database }) },
      clock: systemClock,
    });
    if (flags.role === 'spoke') {
      io.out(`Data directory:   ${dataDir}\nSpoke:            ${String(spanner?.['spoke_id'])}\nAdmin account:    ${admin}\n`);
      io.out(
        token === undefined
          ? `\nNext: put a join token (vigocli spanner spoke add, on the hub) into ${dataDir}/${JOIN_TOKEN}, mode 0600, then\n  vigosrv --data-dir ${dataDir} run\n`
          : `\nNext:\n  vigosrv --data-dir ${dataDir} run   (joins the hub at its first start)\n`,
      );
      return 0;
    }
    io.out(
      `Data directory:   ${dataDir}\nRoot CA pin:      ${result.fleetPin}\nRoot key:         ${result.rootFingerprint}\nAdmin account:    ${admin}\n`,
    );
    io.out(
      `\nNext:\n  vigosrv --data-dir ${dataDir} run\n  vigocli auth create-token --name first --user ${admin}   (on this host, through run/admin.sock)\n`,
    );
    return 0;
  },
});
