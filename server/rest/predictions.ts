/** Predicts the conditions of a trace from the traits that the host last reported (config.md §19.1, section 5). */
import { CodedError } from '../../core/base/errors.ts';
import { isPlainObject } from '../../core/base/json.ts';
import { parseTemplate } from '../../core/template/parse.ts';
import { renderTemplate } from '../../core/template/render.ts';
import { parseWhen } from '../../core/when/parse.ts';
import { type PredictFacts, predictWhen } from '../../core/when/predict.ts';
import { policyFacts } from './envoy-rows.ts';
import type { RestParts } from './parts.ts';

type Parts = Pick<RestParts, 'fleet' | 'store' | 'releases' | 'clock'>;

/** What the agent would know, as far as the server knows it; undefined for a host that never reported. */
async function factsOf(parts: Parts, hostname: string): Promise<(PredictFacts & { readonly ageSeconds: number }) | undefined> {
  const slot = parts.fleet.slotOfHostname(hostname);
  if (slot < 0) return undefined;
  const { id, lastSeen } = parts.fleet.view(slot);
  const held = await parts.store.traits.of(id);
  if (held === undefined) return undefined;
  const policy = parts.releases.policyOf(hostname);
  const body: unknown = policy === undefined ? {} : JSON.parse(Buffer.from(policy.body).toString('utf8'));
  const environment = policyFacts(parts, hostname)?.environment ?? null;
  const data = {
    Vars: isPlainObject(body) ? body['vars'] : {},
    Traits: held.traits,
    Envoy: { id, hostname, environment: environment ?? '' },
  };
  const render = (action: string): string => {
    const { template, problems } = parseTemplate(`{{${action}}}`, 'interpolation');
    if (template === undefined) throw new CodedError('EVAL_ERROR', problems[0]!.message);
    return renderTemplate(template, data);
  };
  return { traits: held.traits, environment, hostname, render, ageSeconds: Math.max(0, Math.round((parts.clock.now() - lastSeen) / 1000)) };
}

/** The condition rows, each with `predicted` where it can be told, and how old the traits are. */
export async function withPredictions<T extends { readonly host: string | null }>(parts: Parts, trace: T): Promise<T> {
  const { conditions } = trace as { readonly conditions?: unknown };
  if (trace.host === null || !Array.isArray(conditions)) return trace;
  const facts = await factsOf(parts, trace.host);
  if (facts === undefined) return trace;
  const rows = conditions.map((row: unknown) => {
    if (!isPlainObject(row) || row['side'] === 'server' || row['predicted'] !== undefined || typeof row['resolved'] !== 'string')
      return row;
    const { ast } = parseWhen(row['resolved']);
    const predicted = ast === undefined ? undefined : predictWhen(ast, facts);
    return predicted === undefined ? row : { ...row, predicted };
  });
  return { ...trace, conditions: rows, predicted_age_s: facts.ageSeconds };
}
