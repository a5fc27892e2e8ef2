/** All collectors, sorted by name. */
import type { TraitCollector } from './collector.ts';
import { hardware } from './hardware.ts';
import { identity } from './identity.ts';
import { memory } from './memory.ts';
import { mountpoints } from './mountpoints.ts';
import { network } from './network.ts';
import { os } from './os.ts';
import { packages } from './packages.ts';
import { time } from './time.ts';
import { uptime } from './uptime.ts';
import { users } from './users.ts';

export const COLLECTORS: readonly TraitCollector[] = [hardware, identity, memory, mountpoints, network, os, packages, time, uptime, users];
