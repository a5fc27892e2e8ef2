/** What `register` and `bootstrap` share: where the token comes from, and the enrolment itself. */
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { VERSION } from '../../core/base/version.ts';
import type { CommandIo } from '../../core/command/command.ts';
import { flag } from '../../core/command/flags.ts';
import { escapeText } from '../../core/command/output.ts';
import { readKeyFile } from '../../core/crypto/key-file.ts';
import { register } from '../enroll/register.ts';

export const enrollmentFlags = {
  token: flag.text('the token (shown in process lists: better --token-file), or - for standard input'),
  tokenFile: flag.text('file that holds the token, mode 0600', { value: 'path' }),
  caPin: flag.text("SHA-256 of the root CA's public key, when no token brings it", { value: 'hex' }),
  hostname: flag.text('name to enrol as (default: this machine)', { value: 'name' }),
  wait: flag.duration('how long a pending enrolment is waited for (default 10m)'),
};

export interface EnrollmentInput {
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly caPin?: string | undefined;
  readonly hostname?: string | undefined;
  readonly wait?: number | undefined;
  readonly force: boolean;
  readonly apiAddr: string;
  readonly configDir: string;
  readonly json: boolean;
}

async function tokenOf(input: EnrollmentInput, io: CommandIo): Promise<string | undefined> {
  if (input.token !== undefined && input.tokenFile !== undefined) throw new CodedError('USAGE', 'give --token or --token-file, not both');
  if (input.token === '-') return (await io.stdin()).trim();
  if (input.tokenFile !== undefined) return readKeyFile(input.tokenFile).trim();
  return input.token?.trim();
}

/** Enrols and says as whom. @returns the exit code */
export async function enrollHere(input: EnrollmentInput, io: CommandIo): Promise<number> {
  const enrolled = await register({
    configDir: input.configDir,
    apiAddr: input.apiAddr,
    token: await tokenOf(input, io),
    caPin: input.caPin,
    hostname: input.hostname?.toLowerCase().replace(/\.$/, ''),
    force: input.force,
    waitMs: input.wait ?? 600_000,
    version: VERSION,
    clock: systemClock,
    signal: io.signal,
    confirmPin: async (pin) => (await io.ask(`The server shows the root CA pin ${pin}. Trust it? [y/N] `))?.trim().toLowerCase() === 'y',
    progress: (text) => io.err(`${escapeText(text)}\n`),
  });
  if (input.json) io.out(`${JSON.stringify({ envoy_id: enrolled.envoyId, hostname: enrolled.hostname, server: enrolled.server })}\n`);
  else
    io.out(
      escapeText(`Envoy ID:         ${enrolled.envoyId}\nHostname:         ${enrolled.hostname}\nServer:           ${enrolled.server}\n`),
    );
  return 0;
}
