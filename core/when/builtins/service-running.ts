/** `service_running`: the service runs; unknown services do not. */
import type { WhenBuiltin } from './builtin.ts';

export const SERVICE_RUNNING: WhenBuiltin = {
  name: 'service_running',
  side: 'agent',
  live: true,
  arity: [1, 1],
  usage: "service_running('nginx')",
  doc: 'the service runs; unknown services do not',
  evaluate: ([name], { probe }) => probe.serviceRunning(name!),
};
