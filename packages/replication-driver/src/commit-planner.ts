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

interface Leaf {
  partition: PartitionId
  keyId: Uint8Array
  /** Undefined: removed. */
  digest: Uint8Array | undefined
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
  const leaves = new Map<string, Leaf & { key: string }>()
  /** Where the keys touched by this group are by now. */
  const owners = new Map<string, { partition: PartitionId; digest: Uint8Array } | undefined>()
  const changes: Change[] = []

  const planOperation = (operation: WriteOperation, placement: Placement | KeyClass, shipped: WalOperation[]) => {
    const { key } = operation
    const keyId = keyIdOf(key)
    const id = hexId(keyId)
    const target = 'partition' in placement ? placement.partition : toPartition(placement)
    const targetId = target && partitionId(target)
    const owner = owners.has(id) ? owners.get(id) : ownerOf(forest, keyId, targetId)
    const value = operation.type === 'put' && target ? operation.value : undefined
    const digest = value && leafDigestOf(key, value)
    if (owner && digest && owner.partition === targetId && Buffer.compare(owner.digest, digest) === 0) return

    const setLeaf = (partition: PartitionId, digest: Uint8Array | undefined) => {
      leaves.set(`${partition}/${id}`, { partition, keyId, digest, key })
    }
    // A deletion is told to those who hold the key, wherever the rules would put it today.
    if (owner && (value === undefined || owner.partition !== targetId)) {
      setLeaf(owner.partition, undefined)
      const mountPath = mountPaths.get(owner.partition) ?? ''
      shipped.push({ partition: parsePartitionId(owner.partition)!, mountPath, key, value: undefined })
    }
    if (value && digest && target && targetId !== undefined) {
      setLeaf(targetId, digest)
      owners.set(id, { partition: targetId, digest })
      shipped.push({ partition: target, mountPath: mountPathOf(placement), key, value })
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
      const placement = placements?.get(operation.key) ?? components.classify(operation.key)
      if ('partition' in placement) {
        // A deletion that a Merkle diff found does not know the path.
        if (operation.type === 'put') mountPaths.set(partitionId(placement.partition), placement.mountPath)
      } else if (placement.class !== 'ignored') {
        mountPaths.set(`${placement.class}/${placement.mount}`, placement.mountPath)
      }
      planOperation(operation, placement, shipped)
    }
    if (shipped.length > 0) staged.append(shipped)
    changes.push({ keys, source: placements ? 'upstream' : 'own' })
  }

  const writes = staged.writes()
  for (const { partition, keyId, digest, key } of leaves.values()) {
    const row = indexKey(partition, hexId(keyId))
    if (digest) writes.push({ type: 'put', key: row, value: encodeLeaf(digest, key) })
    else writes.push({ type: 'delete', key: row })
  }
  return { staged, leaves: [...leaves.values()], writes, changes }
}

function toPartition(keyClass: KeyClass): Partition | undefined {
  return keyClass.class === 'ignored' ? undefined : { class: keyClass.class, mount: keyClass.mount }
}

function mountPathOf(placement: Placement | KeyClass): string {
  return 'mountPath' in placement ? placement.mountPath : ''
}
