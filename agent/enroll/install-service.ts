/** Installs the agent as a service of the platform; systemd on Linux. */
import { CodedError } from '../../core/base/errors.ts';
import type { System } from '../system/system.ts';

const UNIT = 'vigo-envoy.service';
const UNIT_FILE = `/etc/systemd/system/${UNIT}`;

export interface ServicePlan {
  /** absolute path of the agent's executable */
  readonly program: string;
  readonly configDir?: string | undefined;
  readonly stateDir?: string | undefined;
}

/** The text of the systemd unit: restarted always, stopped within the 30 s that a running resource may need. */
export function systemdUnit({ program, configDir, stateDir }: ServicePlan): string {
  const flags = [
    configDir === undefined ? '' : ` --config-dir ${configDir}`,
    stateDir === undefined ? '' : ` --state-dir ${stateDir}`,
  ].join('');
  return `[Unit]
Description=vigo envoy: keeps this machine in its declared state
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=${program}${flags} daemon
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5
TimeoutStopSec=40
KillMode=mixed

[Install]
WantedBy=multi-user.target
`;
}

/** Writes, enables and starts the unit. @returns its name. @throws CodedError UNSUPPORTED where there is no systemd */
export async function installService(system: System, plan: ServicePlan): Promise<string> {
  if (!(await system.hasCommand('systemctl')))
    throw new CodedError('UNSUPPORTED', 'services are installed through systemd only, in this build', {
      hint: 'start "vigo daemon" by what this platform offers',
    });
  await system.writeFile(UNIT_FILE, systemdUnit(plan), { mode: 0o644 });
  await system.run(['systemctl', 'daemon-reload']);
  await system.run(['systemctl', 'enable', '--now', UNIT]);
  return UNIT;
}
