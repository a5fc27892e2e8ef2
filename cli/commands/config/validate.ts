/** `vigocli config validate`: the server's stage, or a directory on this machine without any server. */
import { statSync } from 'node:fs';
import { z } from 'zod';
import { validateConfig } from '../../../core/api/config.ts';
import { CodedError } from '../../../core/base/errors.ts';
import type { Problem } from '../../../core/base/problem.ts';
import { flag } from '../../../core/command/flags.ts';
import { formatJson } from '../../../core/command/output.ts';
import { rootOfTree } from '../../../core/config/manifest.ts';
import { readTree } from '../../../core/config/read-tree.ts';
import { validateTree } from '../../../core/config/validate.ts';
import { cliCommand, outputOf, withClient } from '../../globals.ts';
import { plural, printFindings } from './findings.ts';

async function validateHere(directory: string): Promise<{ readonly root: string; readonly findings: readonly Problem[] }> {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new CodedError('NOT_FOUND', `${directory} is no directory`);
  const read = await readTree(directory);
  const { problems } = await validateTree(read.tree, { today: new Date().toISOString().slice(0, 10) });
  return { root: rootOfTree(read.tree), findings: [...read.problems, ...problems] };
}

function count(findings: readonly { readonly severity: string }[], severity: string): number {
  return findings.filter((finding) => finding.severity === severity).length;
}

export const configValidate = cliCommand({
  name: ['config', 'validate'],
  summary: 'validates the stage, or a directory here; exit 1 when there are errors',
  details: 'With a directory no server is asked; whether secrets exist and URLs answer is then not checked.',
  flags: z.object({ strict: flag.on('warnings count as errors'), skipUrlCheck: flag.on('do not ask URLs whether they are alive') }),
  positional: [{ name: 'path', summary: 'a configuration tree on this machine', optional: true }],
  run: async (input, io) => {
    const { strict, skipUrlCheck } = input.flags;
    const [path] = input.args;
    const output = outputOf(input.globals, io);
    const { root, findings } =
      path === undefined
        ? await withClient(input, io, (client) => client.call(validateConfig, { body: { strict, skip_url_check: skipUrlCheck } }))
        : await validateHere(path);
    const errors = count(findings, 'error');
    const warnings = count(findings, 'warning');
    if (output.form === 'json') io.out(formatJson({ root, errors, warnings, findings }));
    else {
      printFindings(io, findings as Parameters<typeof printFindings>[1]);
      io.out(`${plural(errors, 'error')}, ${plural(warnings, 'warning')}\n`);
      if (path !== undefined && !output.quiet) io.err('not checked: whether secrets exist and URLs answer\n');
    }
    return errors > 0 || (strict && warnings > 0) ? 1 : 0;
  },
});
