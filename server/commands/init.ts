import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { flag } from '../../core/command/flags.ts';
import { initSite } from '../init.ts';
import { dataDirOf, serverCommand, systemHostname } from './globals.ts';

/** Beside the sources; a packaged server starts with an empty stage. */
const exampleTree = fileURLToPath(new URL('../../deploy/config-example', import.meta.url));

export const init = serverCommand({
  name: ['init'],
  summary: 'make a new site in an empty data directory',
  details: 'Makes fleet id, root key, root CA, site CA, server key, master key, settings, database and an example tree in stacks/.',
  flags: z.object({
    hostname: flag.text('name that agents dial (default: this machine)', { value: 'name' }),
    role: flag.oneOf(['standalone', 'hub', 'spoke'], 'role of the site (this build: standalone)'),
    admin: flag.text('name of the first admin account (default admin)', { value: 'user' }),
    offlineRoot: flag.text('write root.key and root-ca.key there instead', { value: 'dir' }),
    forceEmpty: flag.on('write beside files that are there already (never over keys or a database)'),
    grpcListen: flag.text('server.grpc_listen', { value: 'host:port' }),
    apiListen: flag.text('server.api_listen', { value: 'host:port' }),
    advertise: flag.text('server.advertise', { value: 'host:port' }),
    publicUrl: flag.text('server.public_url', { value: 'url' }),
  }),
  async run({ flags, globals }, io) {
    if (flags.role !== undefined && flags.role !== 'standalone')
      throw new CodedError('UNIMPLEMENTED', `the role ${flags.role} is not part of this build`);
    const dataDir = dataDirOf(globals, io.env);
    const given = { grpc_listen: flags.grpcListen, api_listen: flags.apiListen, advertise: flags.advertise, public_url: flags.publicUrl };
    const server = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    const admin = flags.admin ?? 'admin';
    const result = await initSite({
      dataDir,
      hostname: flags.hostname ?? systemHostname(),
      admin,
      offlineRoot: flags.offlineRoot,
      forceEmpty: flags.forceEmpty,
      exampleTree: existsSync(exampleTree) ? exampleTree : undefined,
      settings: { server },
      clock: systemClock,
    });
    io.out(
      `Data directory:   ${dataDir}\nRoot CA pin:      ${result.fleetPin}\nRoot key:         ${result.rootFingerprint}\nAdmin account:    ${admin}\n`,
    );
    io.out(
      `\nNext:\n  vigosrv --data-dir ${dataDir} run\n  vigocli auth create-token --name first --user ${admin}   (on this host, through run/admin.sock)\n`,
    );
    return 0;
  },
});
