/** Converges compiled policies in a folder of its own, on this machine or on one in memory. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { converge } from '../../agent/converge/converge.ts';
import type { Converged, ConvergeInput, ConvergeParts } from '../../agent/converge/run-parts.ts';
import type { SecretLookup } from '../../agent/secret-source.ts';
import { LocalSystem } from '../../agent/system/local-system.ts';
import { openMachine } from '../../agent/system/machine.ts';
import type { System } from '../../agent/system/system.ts';
import { systemClock } from '../../core/base/clock.ts';
import type { Json } from '../../core/base/json.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { SecretValue } from '../../core/base/secret-value.ts';
import { type Outcome, runReportSchema } from '../../core/policy/outcome.ts';
import { memoryFacts } from '../fakes/memory-facts.ts';
import { quietLog } from '../fakes/quiet-log.ts';
import { policyFrom } from './policy.ts';

/** One folder a test; `use` before each, `remove` after all. */
export class TestFolder {
  readonly home = mkdtempSync(join(tmpdir(), 'vigo-run-'));
  path = this.home;
  #count = 0;

  use(): void {
    this.#count += 1;
    this.path = join(this.home, String(this.#count));
    mkdirSync(this.path);
  }

  at(name: string): string {
    return join(this.path, name);
  }

  read(name: string): string {
    return readFileSync(this.at(name), 'utf8');
  }

  remove(): void {
    for (const path of [this.home, PRIVATE_HOME]) rmSync(path, { recursive: true, force: true });
  }

  /** A `file` resource whose content is its name. */
  file(name: string, more = ''): string {
    return `- name: ${name}\n  type: file\n  target_path: ${this.at(name)}\n  content: ${name}\n${more}`;
  }

  /** A command that adds a line to a file. */
  touch(name: string): string {
    return `echo run >> ${this.at(name)}`;
  }
}

export function exec(name: string, command: string, more = ''): string {
  return `- name: ${name}\n  type: exec\n  command: ${JSON.stringify(command)}\n${more}`;
}

export const TRAITS: Record<string, Json> = {
  os: { family: 'debian', distro: 'debian', version: '12', arch: 'amd64' },
  network: { hostname: 'web01', ip_addresses: ['10.0.1.5'] },
  evil: 'x{{ .Vars.port }}`$(reboot)`\u0001sec:db/password\u0001',
};

const PRIVATE_HOME = mkdtempSync(join(tmpdir(), 'vigo-private-'));
export const PRIVATE_FOLDER = join(PRIVATE_HOME, 'private');

export interface Setting {
  readonly system?: System;
  readonly vars?: string;
  readonly tree?: Record<string, string>;
  readonly secrets?: Record<string, SecretLookup | string>;
  readonly parts?: Partial<ConvergeParts>;
  readonly input?: Partial<ConvergeInput>;
  readonly allowProblems?: boolean;
}

const redactor = new Redactor();

/** Every problem of the policy fails the test unless it is allowed. */
export async function runPolicy(modules: Record<string, string>, setting: Setting = {}): Promise<Converged> {
  const { body, errors } = policyFrom(modules, setting.vars, setting.tree);
  if (setting.allowProblems !== true) expect(errors).toEqual([]);
  const secrets = new Map(
    Object.entries(setting.secrets ?? {}).map(([ref, one]): [string, SecretLookup] => [
      ref,
      typeof one === 'string' ? { status: 'ok', value: new SecretValue(one) } : one,
    ]),
  );
  for (const one of secrets.values()) if (one.status === 'ok') redactor.add(one.value.reveal());
  const machine = await openMachine(setting.system ?? new LocalSystem({ privateFolder: PRIVATE_FOLDER }));
  const result = await converge(
    { machine, clock: systemClock, log: quietLog(), redactor, memory: memoryFacts(), ...setting.parts },
    {
      runId: '0192f0c1-2345-7000-8000-000000000001',
      body,
      bodyHash: 'ab'.repeat(32),
      header: { owner_epoch: 1, epoch: 1, seq: 7 },
      envoy: { id: 'e', hostname: 'web01.example.com' },
      traits: TRAITS,
      mode: 'enforce',
      triggers: [],
      secrets: () => Promise.resolve(secrets),
      signal: new AbortController().signal,
      ...setting.input,
    },
  );
  // what leaves the agent has the shape the server expects
  expect(() => runReportSchema.parse(result.report)).not.toThrow();
  return result;
}

const line = ({ module, name, action, reason, triggered, would }: Outcome) =>
  `${module}/${name} ${action}${reason === undefined ? '' : ` ${reason}`}${triggered ? ' triggered' : ''}${would ? ' would' : ''}`;
/** `module/resource action reason`, one line an outcome. */
export const outcomeLines = ({ report }: Converged) => report.outcomes.map(line);
