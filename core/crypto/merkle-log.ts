/**
 * The append-only Merkle tree of RFC 6962: hashes, roots, inclusion and consistency proofs. Appending needs only the frontier (the roots of the
 * perfect subtrees), so it costs O(log n) whatever the length of the log.
 */
import { createHash } from 'node:crypto';

export type Hash = Uint8Array;

const LEAF = Buffer.from([0]);
const NODE = Buffer.from([1]);

/** @see RFC 6962 section 2.1 */
export function leafHash(record: Uint8Array): Buffer {
  return createHash('sha256').update(LEAF).update(record).digest();
}

export function nodeHash(left: Hash, right: Hash): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest();
}

export function emptyRoot(): Buffer {
  return createHash('sha256').digest();
}

/** Largest power of two below n (n > 1). */
function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** How many perfect subtrees a tree of this size has. */
function subtreesOf(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

/** Size and perfect subtree roots, largest first. */
export interface Frontier {
  readonly size: number;
  readonly roots: readonly Hash[];
}

export function emptyFrontier(): Frontier {
  return { size: 0, roots: [] };
}

export function isFrontier({ size, roots }: Frontier): boolean {
  return Number.isSafeInteger(size) && size >= 0 && roots.length === subtreesOf(size) && roots.every((root) => root.length === 32);
}

/** The frontier with one more leaf. */
export function appendLeaf(frontier: Frontier, leaf: Hash): Frontier {
  const roots = [...frontier.roots];
  let carry: Hash = leaf;
  for (let rest = frontier.size; rest % 2 === 1; rest = Math.floor(rest / 2)) carry = nodeHash(roots.pop()!, carry);
  return { size: frontier.size + 1, roots: [...roots, carry] };
}

export function frontierRoot({ roots }: Frontier): Hash {
  if (roots.length === 0) return emptyRoot();
  return roots.reduceRight((right, left) => nodeHash(left, right));
}

/** Roots of ranges of leaves, each perfect one computed once. */
export class MerkleTree {
  readonly #leaves: Hash[] = [];
  readonly #perfect = new Map<string, Hash>();

  get size(): number {
    return this.#leaves.length;
  }

  append(leaf: Hash): void {
    this.#leaves.push(leaf);
  }

  #range(from: number, to: number): Hash {
    const width = to - from;
    if (width === 1) return this.#leaves[from]!;
    const half = splitOf(width);
    const perfect = half * 2 === width;
    const key = `${from}+${width}`;
    const known = perfect ? this.#perfect.get(key) : undefined;
    if (known !== undefined) return known;
    const hash = nodeHash(this.#range(from, from + half), this.#range(from + half, to));
    if (perfect) this.#perfect.set(key, hash);
    return hash;
  }

  #assertSize(size: number): void {
    if (!Number.isSafeInteger(size) || size < 0 || size > this.size) throw new RangeError(`the tree has ${this.size} leaves, not ${size}`);
  }

  root(size = this.size): Hash {
    this.#assertSize(size);
    return size === 0 ? emptyRoot() : this.#range(0, size);
  }

  /** @see RFC 6962 section 2.1.1 */
  inclusionProof(index: number, size = this.size): Hash[] {
    this.#assertSize(size);
    if (!Number.isSafeInteger(index) || index < 0 || index >= size) throw new RangeError(`leaf ${index} is not in a tree of ${size}`);
    const path = (leaf: number, from: number, to: number): Hash[] => {
      if (to - from <= 1) return [];
      const middle = from + splitOf(to - from);
      return leaf < middle
        ? [...path(leaf, from, middle), this.#range(middle, to)]
        : [...path(leaf, middle, to), this.#range(from, middle)];
    };
    return path(index, 0, size);
  }

  /** @see RFC 6962 section 2.1.2 */
  consistencyProof(older: number, newer = this.size): Hash[] {
    this.#assertSize(newer);
    if (!Number.isSafeInteger(older) || older < 0 || older > newer) throw new RangeError(`no proof from ${older} to ${newer}`);
    if (older === 0 || older === newer) return [];
    const proof = (m: number, from: number, to: number, whole: boolean): Hash[] => {
      if (m === to - from) return whole ? [] : [this.#range(from, to)];
      const half = splitOf(to - from);
      return m <= half
        ? [...proof(m, from, from + half, whole), this.#range(from + half, to)]
        : [...proof(m - half, from + half, to, false), this.#range(from, from + half)];
    };
    return proof(older, 0, newer, true);
  }
}

function same(a: Hash, b: Hash): boolean {
  return Buffer.compare(a, b) === 0;
}

/** @see RFC 9162 section 2.1.3.2 */
export function verifyInclusion(leaf: Hash, index: number, size: number, proof: readonly Hash[], root: Hash): boolean {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return false;
  let position = index;
  let last = size - 1;
  let hash = leaf;
  for (const step of proof) {
    if (last === 0) return false;
    if (position % 2 === 1 || position === last) {
      hash = nodeHash(step, hash);
      while (position % 2 === 0 && position !== 0) {
        position = Math.floor(position / 2);
        last = Math.floor(last / 2);
      }
    } else hash = nodeHash(hash, step);
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && same(hash, root);
}

/** @see RFC 9162 section 2.1.4.2 */
export function verifyConsistency(older: number, newer: number, olderRoot: Hash, newerRoot: Hash, proof: readonly Hash[]): boolean {
  if (!Number.isSafeInteger(older) || !Number.isSafeInteger(newer) || older < 0 || older > newer) return false;
  if (older === 0) return proof.length === 0 && same(olderRoot, emptyRoot());
  if (older === newer) return proof.length === 0 && same(olderRoot, newerRoot);
  const steps = subtreesOf(older) === 1 ? [olderRoot, ...proof] : [...proof];
  if (steps.length === 0) return false;
  let position = older - 1;
  let last = newer - 1;
  while (position % 2 === 1) {
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  let olderHash = steps[0]!;
  let newerHash = steps[0]!;
  for (const step of steps.slice(1)) {
    if (last === 0) return false;
    if (position % 2 === 1 || position === last) {
      olderHash = nodeHash(step, olderHash);
      newerHash = nodeHash(step, newerHash);
      while (position % 2 === 0 && position !== 0) {
        position = Math.floor(position / 2);
        last = Math.floor(last / 2);
      }
    } else newerHash = nodeHash(newerHash, step);
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 && same(olderHash, olderRoot) && same(newerHash, newerRoot);
}
