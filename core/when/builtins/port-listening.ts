/** `port_listening`: something listens on this TCP port. */
import { checkEach, type WhenBuiltin } from './builtin.ts';

export const PORT_LISTENING: WhenBuiltin = {
  name: 'port_listening',
  side: 'agent',
  live: true,
  arity: [1, 1],
  usage: 'port_listening(443)',
  doc: 'something listens on this TCP port',
  check: checkEach((port) =>
    /^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535 ? undefined : `"${port}" is no port between 1 and 65535`,
  ),
  evaluate: ([port], { probe }) => probe.portListening(Number(port)),
};
