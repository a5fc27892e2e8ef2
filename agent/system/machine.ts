/** The machine as a run sees it: its system with the limits of the resource in work, and the backends on top of it. */
import type { Platform } from '../platform/platform.ts';
import { choosePlatform } from './choose-platform.ts';
import { limitSystem } from './limited-system.ts';
import type { System } from './system.ts';

export interface Machine {
  readonly system: System;
  readonly platform: Platform;
}

export async function openMachine(system: System): Promise<Machine> {
  const limited = limitSystem(system);
  return { system: limited, platform: await choosePlatform(limited) };
}
