/** All `when:` builtins, sorted by name. */
import { ARCH } from './arch.ts';
import type { WhenBuiltin } from './builtin.ts';
import { CHANGED } from './changed.ts';
import { COMMAND_SUCCEEDS } from './command-succeeds.ts';
import { DAY_OF_MONTH } from './day-of-month.ts';
import { DAY_OF_WEEK } from './day-of-week.ts';
import { DISTRO } from './distro.ts';
import { ENVIRONMENT } from './environment.ts';
import { EQ } from './eq.ts';
import { DIR_EXISTS, FILE_EXISTS } from './file-exists.ts';
import { HAS_COMMAND } from './has-command.ts';
import { HAS_ENOUGH_RAM } from './has-enough-ram.ts';
import { HAS_PACKAGE } from './has-package.ts';
import { HAS_TRAIT } from './has-trait.ts';
import { HOSTNAME } from './hostname.ts';
import { IS_CONTAINER } from './is-container.ts';
import { OS_FAMILY } from './os-family.ts';
import { PORT_LISTENING } from './port-listening.ts';
import { PROCESS_RUNNING } from './process-running.ts';
import { SERVICE_RUNNING } from './service-running.ts';
import { HOUR_RANGE, LOCAL_TIME, MINUTE_RANGE } from './time-of-day.ts';
import { VERSION_GE } from './version-ge.ts';
import { VIRTUAL } from './virtual.ts';

export const WHEN_BUILTINS: ReadonlyMap<string, WhenBuiltin> = new Map(
  [
    ARCH,
    CHANGED,
    COMMAND_SUCCEEDS,
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    DIR_EXISTS,
    DISTRO,
    ENVIRONMENT,
    EQ,
    FILE_EXISTS,
    HAS_COMMAND,
    HAS_ENOUGH_RAM,
    HAS_PACKAGE,
    HAS_TRAIT,
    HOSTNAME,
    HOUR_RANGE,
    IS_CONTAINER,
    LOCAL_TIME,
    MINUTE_RANGE,
    OS_FAMILY,
    PORT_LISTENING,
    PROCESS_RUNNING,
    SERVICE_RUNNING,
    VERSION_GE,
    VIRTUAL,
  ].map((each) => [each.name, each]),
);
