/** Turns the commits of one group into what is written beside them: WAL records, class tags and Merkle leaves. */
import type { MerkleForest, Partition, PartitionId, WalOperation } from '@lockstep/replication'
import { keyIdOf, leafDigestOf, parsePartitionId, partitionId } from '@lockstep/replication'
import type { PendingCommit, WriteOperation } from '@lockstep/storage'
import { encodeLeaf, indexKey } from './layout.ts'
import type { KeyClass } from './logged-store.ts'
import type { RecordLog, StagedAppends } from './record-log.ts'

/** Where an upstream entry belongs, which the sender has said and the local rules may not know yet. */
export interface Placement {
  partition: Partition
  mountPath: string
}

export interface Change {
  keys: readonly string[]
  source: 'own' | 'upstream'
}

export interface GroupPlan {
  staged: StagedAppends
  leaves: readonly Leaf[]
  /** Index rows, log rows and head. */
  writes: WriteOperation[]
  changes: readonly Change[]
}

export interface Leaf {
  partition: PartitionId
  keyId: Uint8Array
  /** Undefined: removed. */
  digest: Uint8Array | undefined
  key: string
}

export interface PlannerComponents {
  forest: MerkleForest
  log: RecordLog
  classify(key: string): KeyClass
  keepLog(): boolean
  /** Placements of a commit made by `apply`; undefined for this cluster's own. */
  placements(commit: PendingCommit): ReadonlyMap<string, Placement> | undefined
  /** Mount paths seen so far, for the partition a key is moved out of. */
  mountPaths: Map<PartitionId, string>
}

export function hexId(keyId: Uint8Array): string {
  return Buffer.from(keyId.buffer, keyId.byteOffset, keyId.byteLength).toString('hex')
}

/** The partition that holds a leaf of the key, `expected` first. */
export function ownerOf(
  forest: MerkleForest,
  keyId: Uint8Array,
  expected: PartitionId | undefined,
): { partition: PartitionId; digest: Uint8Array } | undefined {
  if (expected !== undefined) {
    const digest = forest.get(expected, keyId)
    if (digest) return { partition: expected, digest }
  }
  for (const partition of forest.partitions()) {
    if (partition === expected) continue
    const digest = forest.get(partition, keyId)
    if (digest) return { partition, digest }
  }
  return undefined
}

export function planGroup(commits: readonly PendingCommit[], components: PlannerComponents): GroupPlan {
  const { forest, log, mountPaths } = components
  const staged = log.stage(components.keepLog())
  /** By index row, so that later commits of the group replace what earlier ones would have written. */
  const leaves = new Map<string, Leaf>()
  /** Where the keys touched by this group are by now. */
  const owners = new Map<string, { partition: PartitionId; digest: Uint8Array } | undefined>()
  const changes: Change[] = []

  const planOperation = (operation: WriteOperation, placement: Placement | undefined, shipped: WalOperation[]) => {
    const { key } = operation
    const keyId = keyIdOf(key)
    const id = hexId(keyId)
    const target = placement && partitionId(placement.partition)
    if (placement && mountPaths.get(target!) !== placement.mountPath) mountPaths.set(target!, placement.mountPath)
    const owner = owners.has(id) ? owners.get(id) : ownerOf(forest, keyId, target)
    const value = operation.type === 'put' && placement ? operation.value : undefined
    const digest = value && leafDigestOf(key, value)
    if (owner && digest && owner.partition === target && Buffer.compare(owner.digest, digest) === 0) return

    // A deletion is told to those who hold the key, wherever the rules would put it today.
    if (owner && (value === undefined || owner.partition !== target)) {
      const { partition } = owner
      leaves.set(indexKey(partition, id), { partition, keyId, digest: undefined, key })
      const mountPath = mountPaths.get(partition) ?? ''
      shipped.push({ partition: parsePartitionId(partition)!, mountPath, key, value: undefined })
    }
    if (digest) {
      const leaf = { partition: target!, keyId, digest, key }
      leaves.set(indexKey(target!, id), leaf)
      owners.set(id, leaf)
      shipped.push({ partition: placement!.partition, mountPath: placement!.mountPath, key, value })
    } else {
      owners.set(id, undefined)
    }
  }

  for (const commit of commits) {
    const placements = components.placements(commit)
    const shipped: WalOperation[] = []
    const keys: string[] = []
    for (const operation of commit.operations) {
      keys.push(operation.key)
      const placement = placements?.get(operation.key) ?? placementOf(components.classify(operation.key))
      planOperation(operation, placement, shipped)
    }
    if (shipped.length > 0) staged.append(shipped)
    changes.push({ keys, source: placements ? 'upstream' : 'own' })
  }

  const writes = staged.writes()
  for (const [row, { digest, key }] of leaves) {
    if (digest) writes.push({ type: 'put', key: row, value: encodeLeaf(digest, key) })
    else writes.push({ type: 'delete', key: row })
  }
  return { staged, leaves: [...leaves.values()], writes, changes }
}

function placementOf(keyClass: KeyClass): Placement | undefined {
  if (keyClass.class === 'ignored') return undefined
  return { partition: { class: keyClass.class, mount: keyClass.mount }, mountPath: keyClass.mountPath }
}
