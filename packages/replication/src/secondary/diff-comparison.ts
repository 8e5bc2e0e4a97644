/** Compares what the primary shows of its forest with the one here. Says what follows; does nothing. */
import type { ForestReader } from '../merkle/forest.ts'
import { compareKeyIds, ENTRY_BYTES, HEX_DIGITS, isUnder, KEY_ID_BYTES } from '../merkle/leaf.ts'
import { NODE_HASH_BYTES } from '../merkle/trie.ts'
import type { NodeItem, Roots } from '../messages.ts'
import type { PartitionId } from '../types.ts'
import { sameDigest } from '../wal/cursor.ts'
import type { Acceptance } from './acceptance.ts'

/** Why an answer of the primary ends the link. */
export interface Violation {
  code: 'protocol' | 'not-accepted'
  message: string
}

export interface Place {
  partition: PartitionId
  path: string
}

/** What a comparison leads to. */
export interface Findings {
  /** Both ends have something there, and it differs; `alike`: in about the same number of entries. */
  differing(place: Place, alike: boolean): void
  /** A node's children were compared: of the `all` that both ends have, with `entries` here, `some` differ. */
  compared(some: number, all: number, entries: number): void
  /** Only the primary has something there: about `count` entries. */
  missing(place: Place, count: number): void
  /** Only this end has something there. */
  superfluous(place: Place): void
  /** Entries of a bucket to fetch, and to delete. */
  entries(partition: PartitionId, wanted: readonly Uint8Array[], superfluous: readonly Uint8Array[]): void
}

export interface Comparison {
  /** Roots of the partitions after `after`. Returns the last one listed when there are more to come, else undefined. */
  roots(answer: Roots, after: PartitionId): { next: PartitionId | undefined } | Violation
  node(place: Place, node: NodeItem): Violation | undefined
}

export function comparison(forest: ForestReader, acceptance: Acceptance, findings: Findings): Comparison {
  const compareInner = ({ partition, path }: Place, node: NodeItem): void => {
    const alike = areAlike(node.count, forest.count(partition, path))
    let some = 0
    let all = 0
    let entries = 0
    for (const [nibble, digit] of [...HEX_DIGITS].entries()) {
      const child: Place = { partition, path: path + digit }
      const theirs = node.bytes.subarray(nibble * NODE_HASH_BYTES, (nibble + 1) * NODE_HASH_BYTES)
      const ours = forest.hashAt(partition, child.path)
      if (!isZero(ours) && !isZero(theirs)) {
        all++
        entries += forest.count(partition, child.path)
      }
      if (sameDigest(theirs, ours)) continue
      if (isZero(theirs)) findings.superfluous(child)
      else if (isZero(ours)) findings.missing(child, Math.ceil(node.count / 16))
      else {
        some++
        findings.differing(child, alike)
      }
    }
    findings.compared(some, all, entries)
  }

  const compareBucket = ({ partition, path }: Place, theirs: Uint8Array): Violation | undefined => {
    const ours = forest.entriesUnder(partition, path)
    const wanted: Uint8Array[] = []
    const superfluous: Uint8Array[] = []
    let here = 0
    for (let there = 0; there < theirs.length; there += ENTRY_BYTES) {
      const ascends = there === 0 || compareKeyIds(theirs, there - ENTRY_BYTES, theirs, there) < 0
      if (!ascends || !isUnder(path, theirs, there)) return protocol('a bucket out of order')
      for (; here < ours.length && compareKeyIds(ours, here, theirs, there) < 0; here += ENTRY_BYTES) {
        superfluous.push(keyIdAt(ours, here))
      }
      const both = here < ours.length && compareKeyIds(ours, here, theirs, there) === 0
      const equal = both && sameDigest(entryAt(ours, here), entryAt(theirs, there))
      if (both) here += ENTRY_BYTES
      // A copy: the rest of the message need not stay in memory for it.
      if (!equal) wanted.push(keyIdAt(theirs, there).slice())
    }
    for (; here < ours.length; here += ENTRY_BYTES) superfluous.push(keyIdAt(ours, here))
    findings.entries(partition, wanted, superfluous)
    return undefined
  }

  return {
    roots({ items, more }, after) {
      let last = after
      const listed = new Set<PartitionId>()
      for (const { partition, count, root } of items) {
        if (partition <= last) return protocol('roots out of order')
        if (!acceptance.inScope(partition)) {
          return { code: 'not-accepted', message: `${partition} does not belong on this link` }
        }
        last = partition
        listed.add(partition)
        const place: Place = { partition, path: '' }
        if (sameDigest(root, forest.root(partition))) continue
        if (forest.count(partition) === 0) findings.missing(place, count)
        else findings.differing(place, areAlike(count, forest.count(partition)))
      }
      if (more && items.length === 0) return protocol('roots without end')
      for (const partition of forest.partitions()) {
        const covered = partition > after && (!more || partition <= last)
        if (covered && !listed.has(partition) && acceptance.inScope(partition)) {
          findings.superfluous({ partition, path: '' })
        }
      }
      return { next: more ? last : undefined }
    },

    node(place, node) {
      switch (node.kind) {
        case 'empty':
          findings.superfluous(place)
          return undefined
        case 'bucket':
          return compareBucket(place, node.bytes)
        case 'inner':
          if (place.path.length >= KEY_ID_BYTES * 2) return protocol('a tree too deep')
          compareInner(place, node)
          return undefined
      }
    },
  }
}

export function protocol(message: string): Violation {
  return { code: 'protocol', message }
}

export function keyIdAt(packed: Uint8Array, offset: number): Uint8Array {
  return packed.subarray(offset, offset + KEY_ID_BYTES)
}

/** Differing by less than a quarter: what differs are scattered keys rather than whole stretches that one end lacks. */
function areAlike(theirs: number, ours: number): boolean {
  return Math.abs(theirs - ours) * 4 <= Math.max(theirs, ours)
}

function entryAt(packed: Uint8Array, offset: number): Uint8Array {
  return packed.subarray(offset, offset + ENTRY_BYTES)
}

function isZero(hash: Uint8Array): boolean {
  return hash.every((byte) => byte === 0)
}
