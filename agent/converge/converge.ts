/** One run: every resource of the policy in order, then what was triggered, then the report (config.md §6.5, §14). Dry run and observe are arguments. */
import { CodedError, messageOf } from '../../core/base/errors.ts';
import type { BodyModule, BodyResource } from '../../core/policy/body.ts';
import { countOutcomes, type Outcome, type RunReport } from '../../core/policy/outcome.ts';
import { PROTECTED } from '../../core/policy/protected.ts';
import { evaluateWhen } from '../../core/when/evaluate.ts';
import type { WhenFacts } from '../../core/when/facts.ts';
import { executorFor } from '../executors/index.ts';
import { Dependencies, hasFailed } from './dependencies.ts';
import { Guard } from './guard.ts';
import { type Target, Triggers } from './notify.ts';
import { convergeResource, outcomeOf, type RunContext, skipped, type Verdict } from './one-resource.ts';
import { localTime, machineProbe } from './probe.ts';
import { type ModuleScope, PolicyRenderer } from './render.ts';
import { Reverts } from './revert.ts';
import type { Converged, ConvergeInput, ConvergeParts } from './run-parts.ts';
import { refsOfRun } from './secrets.ts';
import { variablesOf } from './variables.ts';

/** A change of one of these makes stable traits stale (config.md §15.6). */
const TELLING_TYPES: ReadonlySet<string> = new Set(['package', 'nonrepo_package', 'hostname', 'timezone', 'reboot']);

type ModuleGate = 'open' | Verdict;

class Run {
  readonly #parts: ConvergeParts;
  readonly #input: ConvergeInput;
  readonly #modules: readonly BodyModule[];
  readonly #triggers: Triggers;
  readonly #dependencies: Dependencies;
  readonly #outcomes: Outcome[] = [];
  readonly #gates = new Map<string, ModuleGate>();
  readonly #flags = new Set<RunReport['flags'][number]>();
  #scopes: ReadonlyMap<string, ModuleScope> = new Map();
  #context: RunContext | undefined;
  #stopped: 'preempted' | 'aborted' | undefined;
  #traitsChanged = false;

  constructor(parts: ConvergeParts, input: ConvergeInput) {
    this.#parts = parts;
    this.#input = input;
    const { body, module } = input;
    if (module !== undefined && !body.modules.some(({ name }) => name === module))
      throw new CodedError('BAD_REQUEST', `the policy has no module "${module}"`);
    this.#modules = module === undefined ? body.modules : body.modules.filter(({ name }) => name === module);
    this.#triggers = new Triggers(body, input.triggers);
    this.#dependencies = new Dependencies(body.modules);
    for (const flag of input.flags ?? []) this.#flags.add(flag);
  }

  async go(): Promise<Converged> {
    const { clock, trace } = this.#parts;
    const startedAt = clock.now();
    const begin = clock.monotonic();
    const context = await this.#prepare(startedAt);
    for (const module of this.#input.body.modules) await this.#passOne(module, context);
    await this.#passTwo(context);
    trace?.done(countOutcomes(this.#outcomes), clock.monotonic() - begin);
    const isReal = this.#input.mode === 'enforce';
    return {
      report: this.#report(startedAt, clock.now()),
      pendingTriggers: isReal ? this.#triggers.left() : this.#input.triggers,
      traitsChanged: this.#traitsChanged,
    };
  }

  async #prepare(startedAt: number): Promise<RunContext> {
    const { body, envoy, traits, mode, runId, signal } = this.#input;
    const { machine } = this.#parts;
    const secrets = await this.#input.secrets(refsOfRun(body, this.#modules));
    const full = { ...envoy, environment: body.environment };
    const renderer = new PolicyRenderer({ traits, envoy: full, secrets, templates: body.templates });
    const now = localTime(startedAt);
    const probe = machineProbe(machine);
    const facts = (scope: ModuleScope, resource?: BodyResource): WhenFacts => ({
      traits: renderer.traits,
      environment: body.environment,
      hostname: envoy.hostname,
      render: (action) => renderer.action(action, scope, resource),
      now,
      probe,
    });
    const { scopes, errors } = await variablesOf(body, this.#modules, facts);
    this.#scopes = scopes;
    const context: RunContext = {
      ...this.#parts,
      executorFor: this.#parts.executorFor ?? executorFor,
      runId,
      mode,
      signal,
      renderer,
      facts,
      guard: new Guard(machine.system, this.#parts.protectedSet ?? PROTECTED),
      reverts: new Reverts(this.#parts.memory),
      dryRun: mode !== 'enforce',
    };
    this.#context = context;
    if (errors.length > 0) this.#noteVarsErrors(errors);
    return context;
  }

  /** Counted as one error of the pseudo module `(vars)`. */
  #noteVarsErrors(errors: readonly string[]): void {
    this.#flags.add('vars_errors');
    const pseudo = { name: 'vars_when', type: 'vars_when', sensitive: false } as BodyResource;
    this.#note(
      '(vars)',
      pseudo,
      { action: 'error', reason: 'eval_error', message: errors.join('; ') },
      { durationMs: 0, triggered: false },
    );
  }

  async #passOne(module: BodyModule, context: RunContext): Promise<void> {
    if (!this.#modules.includes(module)) {
      for (const resource of module.resources) this.#settle(module, resource, skipped('filtered'), { durationMs: 0, triggered: false });
      return;
    }
    this.#parts.trace?.module(module.name);
    let changed = false;
    for (const resource of module.resources) {
      const begin = this.#parts.clock.monotonic();
      const verdict = (await this.#heldUp()) ?? (await this.#judge({ module, resource }, [], context));
      if (this.#settle(module, resource, verdict, { durationMs: this.#parts.clock.monotonic() - begin, triggered: false })) {
        changed = true;
        this.#triggers.fire({ module, resource });
      }
    }
    if (changed) this.#triggers.fireModule(module);
  }

  async #passTwo(context: RunContext): Promise<void> {
    const changedModules = new Set<BodyModule>();
    for (;;) {
      const next = this.#triggers.next(({ module }) => this.#modules.includes(module));
      if (next === undefined) return;
      const { target, by } = next;
      const begin = this.#parts.clock.monotonic();
      const held = await this.#heldUp();
      const verdict = held ?? (await this.#judge(target, by, context));
      const isChanged = this.#settle(target.module, target.resource, verdict, {
        durationMs: this.#parts.clock.monotonic() - begin,
        triggered: true,
      });
      this.#triggers.finish(target, held !== undefined || hasFailed(verdict));
      if (!isChanged) continue;
      this.#triggers.fire(target);
      if (!changedModules.has(target.module)) this.#triggers.fireModule(target.module);
      changedModules.add(target.module);
    }
  }

  /** Looks before every resource whether the run may go on. */
  async #heldUp(): Promise<Verdict | undefined> {
    if (this.#stopped === undefined) {
      if (this.#input.signal.aborted) this.#stopped = 'aborted';
      else if ((await this.#input.shouldYield?.()) === true) this.#stopped = 'preempted';
    }
    return this.#stopped === undefined ? undefined : skipped('preempted');
  }

  async #judge({ module, resource }: Target, notifiedBy: readonly string[], context: RunContext): Promise<Verdict> {
    if (resource.trigger_only && notifiedBy.length === 0) return skipped('trigger_only');
    const failed = this.#dependencies.failedOf(resource);
    if (failed !== undefined) return skipped('dependency_failed', `${failed} did not succeed`);
    const scope = this.#scopes.get(module.name)!;
    const gate = await this.#gate(module, scope, context);
    if (gate !== 'open') return gate;
    return await convergeResource(scope, resource, notifiedBy, context);
  }

  /** The condition of a module is decided once, when the module is reached. */
  async #gate(module: BodyModule, scope: ModuleScope, context: RunContext): Promise<ModuleGate> {
    let gate = this.#gates.get(module.name);
    if (gate !== undefined) return gate;
    try {
      const holds = module.when === undefined || (await evaluateWhen(module.when.ast, context.facts(scope, undefined)));
      gate = holds ? 'open' : skipped('when_false');
    } catch (thrown) {
      gate = { action: 'error', reason: 'eval_error', message: `condition of the module: ${messageOf(thrown)}` };
    }
    this.#gates.set(module.name, gate);
    return gate;
  }

  /** Notes a verdict; true when it is a change. */
  #settle(module: BodyModule, resource: BodyResource, verdict: Verdict, more: { durationMs: number; triggered: boolean }): boolean {
    const isChanged = ['created', 'updated', 'deleted'].includes(verdict.action);
    if (verdict.reason === 'secret_unavailable') this.#flags.add('incomplete');
    if (isChanged && verdict.would !== true && TELLING_TYPES.has(resource.type)) this.#traitsChanged = true;
    if (verdict.reason !== 'filtered') this.#dependencies.note(module.name, resource.name, verdict);
    this.#note(module.name, resource, verdict, more);
    return isChanged;
  }

  #note(module: string, resource: BodyResource, verdict: Verdict, more: { durationMs: number; triggered: boolean }): void {
    const outcome = outcomeOf({ module }, resource, verdict, this.#context ?? this.#parts, more);
    this.#outcomes.push(outcome);
    if (verdict.reason !== 'filtered') this.#parts.trace?.outcome(outcome);
  }

  #report(startedAt: number, endedAt: number): RunReport {
    const { runId, bodyHash, body, header, mode, module, bundleRejected } = this.#input;
    const partial = this.#stopped ?? (module === undefined ? undefined : 'filtered');
    return {
      run_id: runId,
      body_hash: bodyHash,
      release: body.release,
      owner_epoch: header.owner_epoch,
      epoch: header.epoch,
      seq: header.seq,
      started_at: startedAt,
      ended_at: Math.max(startedAt, endedAt),
      mode,
      ...(partial === undefined ? {} : { partial }),
      flags: [...this.#flags].sort(),
      outcomes: this.#outcomes,
      ...(bundleRejected === undefined || bundleRejected === '' ? {} : { bundle_rejected: bundleRejected }),
    };
  }
}

/** @throws CodedError BAD_REQUEST for an unknown module; everything that happens to a resource is part of the report instead */
export async function converge(parts: ConvergeParts, input: ConvergeInput): Promise<Converged> {
  return await new Run(parts, input).go();
}
