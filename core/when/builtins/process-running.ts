/** `process_running`: a process with this base name runs. */
import type { WhenBuiltin } from './builtin.ts';

export const PROCESS_RUNNING: WhenBuiltin = {
  name: 'process_running',
  side: 'agent',
  live: true,
  arity: [1, 1],
  usage: "process_running('nginx')",
  doc: 'a process with this base name runs',
  evaluate: ([name], { probe }) => probe.processRunning(name!),
};
