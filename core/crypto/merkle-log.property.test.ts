/** RFC 6962 trees: known roots, proofs that hold, and no edit, removal, insertion, swap or cut that they would hide. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  appendLeaf,
  emptyFrontier,
  type Frontier,
  frontierRoot,
  isFrontier,
  leafHash,
  MerkleTree,
  verifyConsistency,
  verifyInclusion,
} from './merkle-log.ts';

function treeOf(records: readonly string[]): { tree: MerkleTree; frontier: Frontier } {
  const tree = new MerkleTree();
  let frontier = emptyFrontier();
  for (const record of records) {
    const leaf = leafHash(Buffer.from(record));
    tree.append(leaf);
    frontier = appendLeaf(frontier, leaf);
  }
  return { tree, frontier };
}

const rootOf = (records: readonly string[]) => Buffer.from(frontierRoot(treeOf(records).frontier)).toString('hex');

test('gives the roots of the reference implementation', () => {
  // inputs and roots of certificate-transparency's merkle_tree_test.cc
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const roots = [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  const tree = new MerkleTree();
  let frontier = emptyFrontier();
  expect(Buffer.from(tree.root()).toString('hex')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  inputs.forEach((input, index) => {
    const leaf = leafHash(Buffer.from(input, 'hex'));
    tree.append(leaf);
    frontier = appendLeaf(frontier, leaf);
    expect(isFrontier(frontier)).toBe(true);
    expect(Buffer.from(tree.root()).toString('hex')).toBe(roots[index]);
    expect(Buffer.from(frontierRoot(frontier)).toString('hex')).toBe(roots[index]);
  });
});

test('all proofs of all trees up to 40 leaves hold, and hold for nothing else', () => {
  const { tree } = treeOf(Array.from({ length: 40 }, (_, index) => `record ${index}`));
  for (let size = 1; size <= 40; size += 1) {
    const root = tree.root(size);
    for (let index = 0; index < size; index += 1) {
      const leaf = leafHash(Buffer.from(`record ${index}`));
      const proof = tree.inclusionProof(index, size);
      expect(verifyInclusion(leaf, index, size, proof, root)).toBe(true);
      expect(verifyInclusion(leaf, index + 1, size, proof, root)).toBe(false);
      expect(verifyInclusion(leafHash(Buffer.from('x')), index, size, proof, root)).toBe(false);
      expect(verifyInclusion(leaf, index, size, [...proof, leaf], root)).toBe(false);
      if (proof.length > 0) expect(verifyInclusion(leaf, index, size, proof.slice(1), root)).toBe(false);
    }
    for (let older = 0; older <= size; older += 1) {
      const proof = tree.consistencyProof(older, size);
      expect(verifyConsistency(older, size, tree.root(older), root, proof)).toBe(true);
      if (older === 0 || older === size) continue;
      expect(verifyConsistency(older, size, tree.root(older - 1), root, proof)).toBe(false);
      expect(verifyConsistency(older, size, tree.root(older), tree.root(size - 1), proof)).toBe(false);
      expect(verifyConsistency(older, size, tree.root(older), root, proof.slice(1))).toBe(false);
    }
  }
});

describe('a changed log has another root', () => {
  const records = fc.array(fc.string(), { minLength: 2, maxLength: 80 });
  const position = fc.nat();

  test('after an edit, a removal, an insertion, a swap or a cut', () => {
    fc.assert(
      fc.property(records, position, position, fc.string(), (before, a, b, text) => {
        const i = a % before.length;
        const j = b % before.length;
        const root = rootOf(before);
        const edited = before.with(i, text);
        if (text !== before[i]) expect(rootOf(edited)).not.toBe(root);
        expect(rootOf(before.toSpliced(i, 1))).not.toBe(root);
        expect(rootOf(before.toSpliced(i, 0, text))).not.toBe(root);
        if (before[i] !== before[j]) expect(rootOf(before.with(i, before[j]!).with(j, before[i]!))).not.toBe(root);
        expect(rootOf(before.slice(0, i))).not.toBe(root);
      }),
    );
  });

  test('and no consistency proof from the old root to a rewritten history holds', () => {
    fc.assert(
      fc.property(records, position, fc.array(fc.string(), { maxLength: 20 }), (before, a, added) => {
        const i = a % before.length;
        const rewritten = treeOf([...before.with(i, `${before[i]}!`), ...added]).tree;
        const old = treeOf(before).tree.root();
        const proof = rewritten.consistencyProof(before.length);
        expect(verifyConsistency(before.length, rewritten.size, old, rewritten.root(), proof)).toBe(false);
      }),
    );
  });

  test('the frontier and the tree agree at every size', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 200 }), (all) => {
        const { tree, frontier } = treeOf(all);
        expect(Buffer.compare(tree.root(), frontierRoot(frontier))).toBe(0);
        expect(isFrontier(frontier)).toBe(true);
      }),
    );
  });
});
