/**
 * The Merkle forest: one tree per partition, and a root composed of those partitions that two clusters should both hold.
 * It lives in memory, one instance per store; whoever commits to the store keeps it in step.
 */
import { sha256, sha256Parts } from '../sha256.ts'
import type { PartitionId } from '../types.ts'
import {
  checkLength,
  checkPath,
  compareKeyIds,
  ENTRY_BYTES,
  KEY_ID_BYTES,
  LEAF_DIGEST_BYTES,
  type TreePath,
} from './leaf.ts'
import {
  bucketsFrom,
  bucketsOf,
  EMPTY_HASH,
  findLeaf,
  nodeAt,
  nodeHash,
  packedEntries,
  removeEntry,
  setEntry,
  type TrieNode,
} from './trie.ts'

/** `children` are 16 hashes of 32 bytes, joined, all zero where a subtree is empty; `entries` are packed, sorted by key id. */
export type ForestNode =
  | { kind: 'empty' }
  | { kind: 'inner'; count: number; children: Uint8Array }
  | { kind: 'bucket'; count: number; entries: Uint8Array }

/** What the protocol reads. Arrays handed out are copies unless said otherwise. */
export interface ForestReader {
  /** Grows with every change; equal numbers mean an unchanged forest. */
  readonly version: number
  /** Non-empty partitions, sorted. */
  partitions(): readonly PartitionId[]
  /** Entries in a partition, or below `path` of it. */
  count(partition: PartitionId, path?: TreePath): number
  /** 32 bytes; all zero for an empty partition. */
  root(partition: PartitionId): Uint8Array
  get(partition: PartitionId, keyId: Uint8Array): Uint8Array | undefined
  node(partition: PartitionId, path: TreePath): ForestNode
  /** Hash of the set below `path`, whether or not the tree has a node there; all zero when it is empty. */
  hashAt(partition: PartitionId, path: TreePath): Uint8Array
  /** Up to `limit` packed entries below `path` with a key id greater than `after`, in key id order. */
  entriesUnder(partition: PartitionId, path: TreePath, options?: EntriesOptions): Uint8Array
  /** Hash over the sorted (id, root) of the non-empty partitions that `include` admits. */
  composedRoot(include: (partition: PartitionId) => boolean): Uint8Array
}

export interface EntriesOptions {
  /** Key id to start after. Default: from the first. */
  after?: Uint8Array | undefined
  /** Entries at most. Default: all. */
  limit?: number
}

export interface MerkleForest extends ForestReader {
  /** Adds or replaces the leaf of a key. The arrays are copied. */
  set(partition: PartitionId, keyId: Uint8Array, digest: Uint8Array): void
  /** Whether there was such a leaf. */
  remove(partition: PartitionId, keyId: Uint8Array): boolean
  /** Empties a partition. */
  drop(partition: PartitionId): void
}

const FOREST = new TextEncoder().encode('lockstep forest v1\n')

interface Tree {
  root: TrieNode
  /** Length and UTF-8 of the id, as the composed root hashes them. */
  label: Uint8Array
}

export function merkleForest(): MerkleForest {
  const trees = new Map<PartitionId, Tree>()
  let sorted: PartitionId[] | undefined = []
  let version = 0

  const replaceRoot = (partition: PartitionId, root: TrieNode | undefined): void => {
    const tree = trees.get(partition)
    if (tree && root) {
      tree.root = root
    } else if (root) {
      trees.set(partition, { root, label: partitionLabel(partition) })
      sorted = undefined
    } else if (trees.delete(partition)) {
      sorted = undefined
    }
  }

  const partitions = (): readonly PartitionId[] => {
    sorted ??= [...trees.keys()].sort()
    return sorted
  }

  return {
    get version() {
      return version
    },
    partitions,

    set(partition, keyId, digest) {
      checkLength(keyId, KEY_ID_BYTES, 'key id')
      checkLength(digest, LEAF_DIGEST_BYTES, 'leaf digest')
      const root = trees.get(partition)?.root
      const result = setEntry(root, 0, keyId, digest)
      if (result.node !== root) replaceRoot(partition, result.node)
      version++
    },
    remove(partition, keyId) {
      checkLength(keyId, KEY_ID_BYTES, 'key id')
      const root = trees.get(partition)?.root
      const result = removeEntry(root, 0, keyId)
      if (result.node !== root) replaceRoot(partition, result.node)
      if (result.removed) version++
      return result.removed
    },
    drop(partition) {
      if (!trees.has(partition)) return
      replaceRoot(partition, undefined)
      version++
    },

    count(partition, path = '') {
      checkPath(path)
      return nodeAt(trees.get(partition)?.root, path)?.count ?? 0
    },
    root: (partition) => nodeHash(trees.get(partition)?.root).slice(),
    get(partition, keyId) {
      checkLength(keyId, KEY_ID_BYTES, 'key id')
      const found = findLeaf(trees.get(partition)?.root, keyId)
      if (!found) return undefined
      const start = found[1] * ENTRY_BYTES + KEY_ID_BYTES
      return packedEntries(found[0]).slice(start, start + LEAF_DIGEST_BYTES)
    },
    node(partition, path) {
      checkPath(path)
      const node = nodeAt(trees.get(partition)?.root, path)
      if (node === undefined) return { kind: 'empty' }
      if (node.kind === 'bucket') return { kind: 'bucket', count: node.count, entries: packedEntries(node).slice() }
      const children = new Uint8Array(node.children.length * EMPTY_HASH.length)
      node.children.forEach((child, nibble) => {
        children.set(nodeHash(child), nibble * EMPTY_HASH.length)
      })
      return { kind: 'inner', count: node.count, children }
    },
    hashAt(partition, path) {
      checkPath(path)
      return nodeHash(nodeAt(trees.get(partition)?.root, path)).slice()
    },
    entriesUnder(partition, path, options = {}) {
      checkPath(path)
      return collect(nodeAt(trees.get(partition)?.root, path), path.length, options)
    },
    composedRoot(include) {
      const parts: Uint8Array[] = [FOREST]
      for (const partition of partitions()) {
        if (!include(partition)) continue
        const tree = trees.get(partition)!
        parts.push(tree.label, nodeHash(tree.root))
      }
      return parts.length > 64 ? sha256(Buffer.concat(parts)) : sha256Parts(...parts)
    },
  }
}

function collect(node: TrieNode | undefined, depth: number, options: EntriesOptions): Uint8Array {
  const { after, limit = Number.POSITIVE_INFINITY } = options
  if (after) checkLength(after, KEY_ID_BYTES, 'key id')
  const parts: Uint8Array[] = []
  let count = 0
  for (const bucket of after ? bucketsFrom(node, depth, after) : bucketsOf(node)) {
    if (count >= limit) break
    const packed = packedEntries(bucket)
    let first = 0
    // Buckets hold few entries and only the first one can start too early.
    while (after && first < packed.length && compareKeyIds(packed, first, after, 0) <= 0) first += ENTRY_BYTES
    const part = packed.subarray(first, Math.min(packed.length, first + (limit - count) * ENTRY_BYTES))
    count += part.length / ENTRY_BYTES
    parts.push(part)
  }
  const joined = new Uint8Array(count * ENTRY_BYTES)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

function partitionLabel(partition: PartitionId): Uint8Array {
  const id = Buffer.from(partition, 'utf8')
  const label = new Uint8Array(2 + id.length)
  label[0] = id.length >> 8
  label[1] = id.length & 255
  label.set(id, 2)
  return label
}
