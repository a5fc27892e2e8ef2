/** One resource from its text to its outcome: choose, ask, render, guard, look, act, look again (config.md §14). */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import type { BodyResource } from '../../core/policy/body.ts';
import type { Action, Outcome, RunReport } from '../../core/policy/outcome.ts';
import { evaluateWhen } from '../../core/when/evaluate.ts';
import type { WhenFacts } from '../../core/when/facts.ts';
import type { Change, Executor, ExecutorContext } from '../executors/executor.ts';
import { heldBack } from '../executors/guards.ts';
import { withLimits } from '../system/limited-system.ts';
import { withDeadline } from './deadline.ts';
import type { Guard } from './guard.ts';
import type { Attributes, ModuleScope, PolicyRenderer } from './render.ts';
import type { Reverts } from './revert.ts';
import type { ConvergeParts } from './run-parts.ts';
import { cutBytes, shownChanges, shownOutput } from './secrets.ts';

const COMMAND_TYPES: ReadonlySet<string> = new Set(['exec', 'powershell', 'ssh_exec']);
const COMMAND_MS = 300_000;
const OTHER_MS = 600_000;
const MAX_OUTPUT = 64 * 1024;

/** What all resources of a run share. */
export interface RunContext extends ConvergeParts {
  readonly runId: string;
  readonly executorFor: (type: string) => Executor | undefined;
  readonly renderer: PolicyRenderer;
  readonly guard: Guard;
  readonly reverts: Reverts;
  readonly dryRun: boolean;
  readonly mode: RunReport['mode'];
  readonly signal: AbortSignal;
  facts(scope: ModuleScope, resource: BodyResource | undefined): WhenFacts;
}

/** How it ended, before it becomes part of a report. */
export interface Verdict {
  readonly action: Action;
  readonly reason?: string;
  readonly would?: true;
  readonly changes?: readonly Change[];
  readonly message?: string;
  readonly output?: string;
}

export const skipped = (reason: string, message?: string): Verdict => ({
  action: 'skipped',
  reason,
  ...(message === undefined ? {} : { message }),
});

/** @param notifiedBy what triggered it; empty in pass 1 */
export async function convergeResource(
  scope: ModuleScope,
  resource: BodyResource,
  notifiedBy: readonly string[],
  run: RunContext,
): Promise<Verdict> {
  let output = '';
  const hear = (text: string) => {
    if (output.length < MAX_OUTPUT) output += text;
  };
  let verdict: Verdict;
  try {
    verdict = await attempt(scope, resource, notifiedBy, run, hear);
  } catch (thrown) {
    verdict = failure(thrown);
    run.log.debug('a resource failed', { module: scope.module, resource: resource.name, reason: verdict.reason });
  }
  return output === '' ? verdict : { ...verdict, output };
}

async function attempt(
  scope: ModuleScope,
  resource: BodyResource,
  notifiedBy: readonly string[],
  run: RunContext,
  hear: (text: string) => void,
): Promise<Verdict> {
  const executor = run.executorFor(resource.type);
  if (executor === undefined) throw new CodedError('UNSUPPORTED', `this agent has no executor for type ${resource.type}`);
  const chosen = choose(scope, resource, run);
  if (resource.when !== undefined && !(await evaluateWhen(resource.when.ast, run.facts(scope, resource)))) return skipped('when_false');
  const reverts = resource.revert === true;
  if (reverts && run.reverts.isSettled(scope.module, resource)) return { action: 'none' };
  const rendered = run.renderer.attributes(chosen, scope, resource);
  if (rendered.gap !== undefined) {
    const { ref, status } = rendered.gap;
    if (status === 'unavailable') return skipped('secret_unavailable', `secret ${ref} is not available`);
    return { action: 'error', reason: `secret_${status}`, message: `secret ${ref} is ${status}` };
  }
  let attributes = reverts ? run.reverts.inverse(scope.module, resource, rendered.attributes) : rendered.attributes;
  const [finding] = await run.guard.findings(resource.type, attributes, reverts);
  if (finding !== undefined) return { action: 'error', reason: 'guardrail', message: `${finding.rule}: ${finding.message}` };
  const timeoutMs =
    resource.timeout_s === undefined ? (COMMAND_TYPES.has(resource.type) ? COMMAND_MS : OTHER_MS) : resource.timeout_s * 1_000;
  const rawFile = rendered.raw === undefined ? undefined : join(await run.machine.system.privateFolder(), randomBytes(12).toString('hex'));
  try {
    if (rawFile !== undefined) {
      await run.machine.system.writeFile(rawFile, rendered.raw!, { mode: 0o600 });
      attributes = { ...attributes, source: rawFile };
    }
    return await withDeadline({ timeoutMs, clock: run.clock, signal: run.signal }, (signal) =>
      withLimits({ signal, timeoutMs, nice: resource.nice }, () =>
        enforce(executor, attributes, scope, resource, run, contextFor(scope, resource, notifiedBy, run, { signal, timeoutMs, hear })),
      ),
    );
  } finally {
    if (rawFile !== undefined) await run.machine.system.remove(rawFile);
  }
}

/** `case`: the branch for the rendered key lies over the attributes. */
function choose(scope: ModuleScope, resource: BodyResource, run: RunContext): Attributes {
  if (resource.case === undefined) return resource.attrs;
  const { expr, match } = resource.case;
  const key = run.renderer.caseKey(expr, scope, resource);
  const name = Object.keys(match).find((one) => one.toLowerCase() === key) ?? 'default';
  return Object.hasOwn(match, name) ? { ...resource.attrs, ...match[name] } : resource.attrs;
}

async function enforce(
  executor: Executor,
  attributes: Attributes,
  scope: ModuleScope,
  resource: BodyResource,
  run: RunContext,
  context: ExecutorContext,
): Promise<Verdict> {
  const parsed = executor.spec.attributes.safeParse(attributes);
  if (!parsed.success) throw new CodedError('EVAL_ERROR', z.prettifyError(parsed.error).replaceAll('\n', ' '));
  const want = parsed.data;
  const held = await heldBack(attributes, context);
  if (held !== undefined) return skipped('guard', held);
  const changes = await executor.check(want, context);
  const reverts = resource.revert === true;
  if (changes.length === 0) {
    if (!run.dryRun) await remember(reverts, scope, resource, run);
    return { action: 'none' };
  }
  const action = executor.verb?.(want, changes) ?? verbOf(attributes, changes);
  const reason = reverts ? { reason: 'reverted' } : {};
  if (run.dryRun) return { action, changes, would: true, ...reason };
  if (!reverts) await run.reverts.record(scope.module, resource, changes);
  await executor.apply(want, changes, context);
  if (executor.eventful?.(want) !== true) {
    const left = await executor.check(want, context);
    if (left.length > 0) {
      const names = [...new Set(left.map(({ attribute }) => attribute))].join(', ');
      return { action: 'error', reason: 'verify_failed', changes: left, message: `still not as wanted afterwards: ${names}` };
    }
  }
  await remember(reverts, scope, resource, run);
  return { action, changes, ...reason };
}

async function remember(reverts: boolean, { module }: ModuleScope, resource: BodyResource, run: RunContext): Promise<void> {
  if (reverts) await run.reverts.settle(module, resource);
  else await run.reverts.arm(module, resource);
}

function verbOf(attributes: Attributes, changes: readonly Change[]): Action {
  if (attributes['state'] === 'absent') return 'deleted';
  return changes.some(({ attribute, from, to }) => attribute === 'exists' && from === false && to === true) ? 'created' : 'updated';
}

function contextFor(
  { module }: ModuleScope,
  resource: BodyResource,
  notifiedBy: readonly string[],
  run: RunContext,
  { signal, timeoutMs, hear }: { signal: AbortSignal; timeoutMs: number; hear: (text: string) => void },
): ExecutorContext {
  return {
    ...run.machine,
    traits: run.renderer.traits,
    notifiedBy,
    log: run.log,
    signal,
    timeoutMs,
    dryRun: run.dryRun,
    output: hear,
    async snapshot(path, action) {
      if (run.dryRun || run.snapshots === undefined) return;
      try {
        await run.snapshots.keep(path, { run: run.runId, module, resource: resource.name, action, sensitive: resource.sensitive });
      } catch (thrown) {
        run.log.warn('a file could not be kept before its change', { path, error: messageOf(thrown) });
      }
    },
  };
}

/** Errors of the machine that say that its surroundings stand in the way. */
const SURROUNDINGS: ReadonlySet<string> = new Set(['ENOSPC', 'EROFS', 'EDQUOT', 'EBUSY', 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO']);

function failure(thrown: unknown): Verdict {
  const message = messageOf(thrown);
  if (thrown instanceof CodedError) {
    if (thrown.code === 'BLOCKED') return { action: 'blocked', message };
    const reasons: Readonly<Record<string, string>> = {
      UNSUPPORTED: 'unsupported',
      DEADLINE: 'timeout',
      EVAL_ERROR: 'eval_error',
      GUARDRAIL: 'guardrail',
    };
    return { action: 'error', reason: reasons[thrown.code] ?? 'exec_failed', message };
  }
  const errno = (thrown as { readonly code?: unknown }).code;
  if (typeof errno === 'string' && SURROUNDINGS.has(errno)) return { action: 'blocked', reason: errno, message };
  return { action: 'error', reason: 'exec_failed', message };
}

/** What may leave the machine of a verdict. */
export function outcomeOf(
  scope: { readonly module: string },
  resource: BodyResource,
  verdict: Verdict,
  run: Pick<RunContext, 'redactor'>,
  more: { readonly durationMs: number; readonly triggered: boolean },
): Outcome {
  const { redactor } = run;
  const { sensitive } = resource;
  const output = shownOutput(verdict.output ?? '', sensitive, redactor);
  const isFailure = verdict.action === 'error' || verdict.action === 'blocked';
  // an error text of a sensitive resource may quote what it worked with
  const message =
    verdict.message === undefined || (sensitive && isFailure && !isHarmless(verdict)) ? undefined : redactor.redact(verdict.message);
  return {
    module: scope.module,
    name: resource.name,
    type: resource.type,
    action: verdict.action,
    ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
    duration_ms: Math.max(0, Math.round(more.durationMs)),
    triggered: more.triggered,
    would: verdict.would === true,
    changes: shownChanges(verdict.changes ?? [], sensitive, redactor),
    ...(message === undefined ? {} : { message: cutBytes(message, 4_096) }),
    ...(output === undefined ? {} : { output }),
  };
}

/** Texts of ours that name a reference, an attribute or a rule, never a value. */
function isHarmless({ reason }: Verdict): boolean {
  return reason !== undefined && ['secret_missing', 'secret_denied', 'verify_failed', 'timeout'].includes(reason);
}
