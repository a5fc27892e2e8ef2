/** `version_ge`: the system or a package is at least at a version. */
import { needTrait } from '../facts.ts';
import { compareVersions } from '../version-order.ts';
import type { WhenBuiltin } from './builtin.ts';

export const VERSION_GE: WhenBuiltin = {
  name: 'version_ge',
  side: 'agent',
  live: false,
  arity: [1, 2],
  usage: "version_ge('22.04') or version_ge('nginx', '1.24')",
  doc: 'os.version, or the installed version of the package, is this or later; false when the package is not installed',
  evaluate: ([first, second], facts) => {
    if (second === undefined) return compareVersions(String(needTrait(facts, 'os.version')), first!) >= 0;
    return facts.probe.packageVersion(first!).then((installed) => installed !== undefined && compareVersions(installed, second) >= 0);
  },
};
