/**
 * Judges a history of moves by what was seen from outside alone: who gave policy to which envoy under which epoch, what the agents obeyed, what became of
 * their results. It knows nothing of how moves are made.
 */
export type HistoryEvent =
  /** a site answered a check-in with policy */
  | { readonly kind: 'served'; readonly at: number; readonly envoy: string; readonly site: string; readonly epoch: number }
  /** an agent took that policy for its own */
  | { readonly kind: 'obeyed'; readonly at: number; readonly envoy: string; readonly site: string; readonly epoch: number }
  /** a site answered with the way to another owner */
  | { readonly kind: 'led_away'; readonly at: number; readonly envoy: string; readonly site: string; readonly epoch: number }
  /** a result was acknowledged to the agent */
  | { readonly kind: 'reported'; readonly at: number; readonly envoy: string; readonly site: string; readonly run: string }
  /** at the end: a result lies at the site that owns the envoy then */
  | { readonly kind: 'kept'; readonly at: number; readonly envoy: string; readonly site: string; readonly run: string };

type Unstamped = HistoryEvent extends infer E ? (E extends HistoryEvent ? Omit<E, 'at'> : never) : never;

export class MoveHistory {
  readonly events: HistoryEvent[] = [];
  #at = 0;

  add(event: Unstamped): void {
    this.#at += 1;
    this.events.push({ ...event, at: this.#at } as HistoryEvent);
  }
}

/** What is wrong with a history, a line each; empty: nothing. */
export function judgeHistory(events: readonly HistoryEvent[]): readonly string[] {
  const found: string[] = [];
  const owners = new Map<string, string>();
  const obeyed = new Map<string, number>();
  const left = new Map<string, number>();
  const reported = new Map<string, number>();
  const kept = new Map<string, number>();
  for (const event of events) {
    const { envoy, site } = event;
    switch (event.kind) {
      case 'served': {
        const key = `${envoy} under epoch ${event.epoch}`;
        const owner = owners.get(key) ?? site;
        owners.set(key, owner);
        if (owner !== site) found.push(`${key}: served by ${owner} and by ${site}`);
        const gone = left.get(`${envoy} ${site}`) ?? 0;
        if (event.epoch < gone)
          found.push(`${envoy}: ${site} served epoch ${event.epoch} at ${event.at} after it had led away with epoch ${gone}`);
        break;
      }
      case 'led_away': {
        const key = `${envoy} ${site}`;
        left.set(key, Math.max(left.get(key) ?? 0, event.epoch));
        break;
      }
      case 'obeyed': {
        const before = obeyed.get(envoy) ?? 0;
        if (event.epoch < before) found.push(`${envoy}: obeyed epoch ${event.epoch} after ${before}`);
        obeyed.set(envoy, Math.max(before, event.epoch));
        if (owners.get(`${envoy} under epoch ${event.epoch}`) !== site)
          found.push(`${envoy}: obeyed ${site}, which did not serve epoch ${event.epoch}`);
        break;
      }
      case 'reported':
        reported.set(`${envoy} ${event.run}`, (reported.get(`${envoy} ${event.run}`) ?? 0) + 1);
        break;
      case 'kept':
        kept.set(`${envoy} ${event.run}`, (kept.get(`${envoy} ${event.run}`) ?? 0) + 1);
        break;
    }
  }
  for (const run of reported.keys()) {
    const times = kept.get(run) ?? 0;
    if (times !== 1) found.push(`${run}: acknowledged, and kept ${times} times`);
  }
  return found;
}
