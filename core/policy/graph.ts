/** Order from edges: Kahn's algorithm with the earliest ready node first, and the full path of a cycle when there is one (config.md §6). */

/** `from` comes before `to`; both are positions in the declared order. */
export type Edge = readonly [from: number, to: number];

export type Ordered =
  | { readonly order: readonly number[]; readonly cycle?: undefined }
  | { readonly order?: undefined; readonly cycle: readonly number[] };

/** A heap of positions; the smallest comes out first. */
class Ready {
  readonly #heap: number[] = [];

  get size(): number {
    return this.#heap.length;
  }

  push(value: number): void {
    const heap = this.#heap;
    let i = heap.push(value) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent]! <= heap[i]!) break;
      [heap[parent], heap[i]] = [heap[i]!, heap[parent]!];
      i = parent;
    }
  }

  pop(): number {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return top;
    heap[0] = last;
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < heap.length && heap[child]! < heap[least]!) least = child;
      if (least === i) return top;
      [heap[least], heap[i]] = [heap[i]!, heap[least]!];
      i = least;
    }
  }
}

/** Every node that is left has a predecessor among the left, so walking backwards must meet itself. */
function findCycle(left: ReadonlySet<number>, before: ReadonlyMap<number, readonly number[]>): readonly number[] {
  const seen = new Map<number, number>();
  const path: number[] = [];
  let node = Math.min(...left);
  while (!seen.has(node)) {
    seen.set(node, path.length);
    path.push(node);
    node = before.get(node)!.find((candidate) => left.has(candidate))!;
  }
  const cycle = path.slice(seen.get(node)!).reverse();
  const smallest = cycle.indexOf(Math.min(...cycle));
  const turned = [...cycle.slice(smallest), ...cycle.slice(0, smallest)];
  return [...turned, turned[0]!];
}

/** Sorts `count` nodes; a cycle is given as the path that closes it, first node repeated at the end. */
export function orderNodes(count: number, edges: Iterable<Edge>): Ordered {
  const after = new Map<number, number[]>();
  const before = new Map<number, number[]>();
  const waiting = new Uint32Array(count);
  for (const [from, to] of edges) {
    if (after.get(from)?.includes(to)) continue;
    if (!after.has(from)) after.set(from, []);
    if (!before.has(to)) before.set(to, []);
    after.get(from)!.push(to);
    before.get(to)!.push(from);
    waiting[to] = waiting[to]! + 1;
  }
  const ready = new Ready();
  for (let node = 0; node < count; node++) if (waiting[node] === 0) ready.push(node);
  const order: number[] = [];
  while (ready.size > 0) {
    const node = ready.pop();
    order.push(node);
    for (const next of after.get(node) ?? []) {
      waiting[next] = waiting[next]! - 1;
      if (waiting[next] === 0) ready.push(next);
    }
  }
  if (order.length === count) return { order };
  const done = new Set(order);
  const left = new Set(Array.from({ length: count }, (_, node) => node).filter((node) => !done.has(node)));
  return { cycle: findCycle(left, before) };
}
