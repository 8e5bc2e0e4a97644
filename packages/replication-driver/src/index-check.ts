/** Compares what a logged store holds three times over: the data, the stored Merkle index, and the forest in memory. */
import type { ForestReader, MerkleForest, PartitionId, ShippedClass } from '@lockstep/replication'
import { keyIdOf, leafDigestOf } from '@lockstep/replication'
import { hexId } from './commit-planner.ts'
import { forestDifferences, hashInParts } from './forest-differences.ts'
import { differenceList } from './index-differences.ts'
import { expectedPartition, type JudgeComponents, judgeLost, judgeSuspects, type Suspect } from './index-judge.ts'
import { DATA, decodeLeaf, INDEX, indexKey, parseIndexKey } from './layout.ts'
import { type RebuildComponents, type RebuildSource, rebuildForest, STEP_ENTRIES } from './rebuilt-forest.ts'
import type { Runtime } from './runtime.ts'

export interface IndexDifference {
  partition: PartitionId
  key: string
  /**
   * `missing`: data without an index row. `stray`: an index row without data, or a second one. `mismatch`: the row has another
   * digest than the data. `memory`: only the forest in memory is wrong.
   */
  problem: 'missing' | 'stray' | 'mismatch' | 'memory'
}

export interface IndexReport {
  /** Data entries read. */
  keys: number
  /** How many differences were found; `differences` lists the first 1000. */
  total: number
  differences: IndexDifference[]
  /** How many of them the index was made to follow the data for. */
  repaired: number
  /** By class, everything this store holds of it. */
  classes: Record<ShippedClass, ClassReport>
}

export interface ClassReport {
  /** Whether a difference was found. */
  corrupted: boolean
  /** Root of the live forest, and of one built anew from the data, at one moment; before any repair. 32 bytes. */
  root: Uint8Array
  dataRoot: Uint8Array
  /** Leaves in the live forest at that moment. */
  keys: number
  /** Where the differences are: the first byte of the key id, and of each the second. Ascending. */
  pages: { page: number; subpages: number[] }[]
}

export interface VerifyOptions {
  /** Make index and forest follow the data, or only those of some partitions. Default: no. */
  repair?: boolean | ((partition: PartitionId) => boolean)
  /** Told data entries read so far. */
  onProgress?(keys: number): void
  /** How fast at most. Default: as fast as it goes. */
  pace?: { keysPerSecond: number }
  /** Rejects with its reason once it is aborted. */
  signal?: AbortSignal
}

export interface IndexCheckComponents extends RebuildComponents, JudgeComponents {
  runtime: Pick<Runtime, 'now' | 'after' | 'nextTurn'>
}

/** Suspects gathered before they are judged. */
const SUSPECTS = 1024

/**
 * Builds a forest from the data and then one from the index rows, a few entries at a time while commits go on, and compares each with
 * the live one. Needs as much memory again as the live forest. What differs is looked at again between two commits, so a write that
 * fell into it is no difference. Commits wait only for that: a few dozen keys at a time.
 */
export async function checkIndex(components: IndexCheckComponents, options: VerifyOptions = {}): Promise<IndexReport> {
  const { forest, runtime } = components
  const { repair = false, signal } = options
  const repairs = typeof repair === 'function' ? repair : () => repair
  const differences = differenceList()
  const judged = new Set<string>()
  const nameless = new Map<string, Suspect[]>()
  const paced = pacer(options, runtime)
  let keys = 0

  const nextTurn = (): Promise<void> => {
    signal?.throwIfAborted()
    return new Promise((resolve) => runtime.nextTurn(resolve))
  }

  const judge = async (suspects: readonly Suspect[]) => {
    const judgement = await judgeSuspects(components, suspects, repairs)
    for (const found of judgement.found) differences.add(found)
    for (const suspect of judgement.nameless) {
      const id = hexId(suspect.keyId)
      nameless.set(id, [...(nameless.get(id) ?? []), suspect])
    }
  }

  const compareWithLive = async (rebuilt: MerkleForest) => {
    let suspects: Suspect[] = []
    for await (const suspect of forestDifferences(rebuilt, forest, nextTurn)) {
      const place = indexKey(suspect.partition, hexId(suspect.keyId))
      // What differs from the data mostly differs from the index too, and counts once.
      if (judged.has(place)) continue
      judged.add(place)
      suspects.push(suspect)
      if (suspects.length < SUSPECTS) continue
      await judge(suspects)
      suspects = []
    }
    await judge(suspects)
  }

  const fromData = await rebuildForest(components, dataSource(components), (entries) => {
    keys += entries
    options.onProgress?.(keys)
    return paced(entries)
  })
  let classes: Record<ShippedClass, Roots>
  try {
    await hashInParts(fromData.forest, nextTurn)
    await hashInParts(forest, nextTurn)
    // Between two commits, when both show one moment.
    classes = await components.quietly(async () => ({
      replicated: rootsOf('replicated', forest, fromData.forest),
      local: rootsOf('local', forest, fromData.forest),
    }))
    await compareWithLive(fromData.forest)
  } finally {
    fromData.close()
  }

  const fromIndex = await rebuildForest(components, indexSource, paced)
  try {
    await hashInParts(fromIndex.forest, nextTurn)
    await compareWithLive(fromIndex.forest)
  } finally {
    fromIndex.close()
  }

  if (nameless.size > 0) {
    await findNames(components, nameless, judge, paced)
    for (const suspects of nameless.values()) {
      for (const suspect of suspects) {
        for (const found of await judgeLost(components, suspect, repairs)) differences.add(found)
      }
    }
  }
  return {
    keys,
    ...differences.report(),
    classes: {
      replicated: { ...classes.replicated, ...differences.ofClass('replicated') },
      local: { ...classes.local, ...differences.ofClass('local') },
    },
  }
}

type Roots = Pick<ClassReport, 'root' | 'dataRoot' | 'keys'>

function rootsOf(name: ShippedClass, live: ForestReader, rebuilt: ForestReader): Roots {
  const ofClass = (partition: PartitionId) => partition.startsWith(`${name}/`)
  let keys = 0
  for (const partition of live.partitions()) if (ofClass(partition)) keys += live.count(partition)
  return { root: live.composedRoot(ofClass), dataRoot: rebuilt.composedRoot(ofClass), keys }
}

function dataSource(components: JudgeComponents): RebuildSource {
  return {
    prefix: DATA,
    placeOf: ({ key }) => DATA + key,
    leafOf([stored, value]) {
      const key = stored.slice(DATA.length)
      const keyId = keyIdOf(key)
      const partition = expectedPartition(components, keyId, key)
      return partition === undefined ? undefined : { partition, keyId, digest: leafDigestOf(key, value) }
    },
  }
}

const indexSource: RebuildSource = {
  prefix: INDEX,
  placeOf: ({ partition, keyId }) => indexKey(partition, hexId(keyId)),
  leafOf([row, value]) {
    const { partition, keyId } = parseIndexKey(row)
    return { partition, keyId: Buffer.from(keyId, 'hex'), digest: decodeLeaf(value).digest }
  },
}

/** Goes through the data once more for the names of keys of which the index has no row, and takes off the list those it finds. */
async function findNames(
  { physical }: JudgeComponents,
  nameless: Map<string, Suspect[]>,
  judge: (suspects: readonly Suspect[]) => Promise<void>,
  paced: (entries: number) => Promise<void>,
): Promise<void> {
  let reached: string | undefined
  for (let ended = false; !ended; ) {
    const suspects: Suspect[] = []
    let entries = 0
    const range = { prefix: DATA, limit: STEP_ENTRIES, ...(reached === undefined ? {} : { after: reached }) }
    for await (const [stored] of physical.scan(range)) {
      const key = stored.slice(DATA.length)
      const id = hexId(keyIdOf(key))
      for (const suspect of nameless.get(id) ?? []) suspects.push({ ...suspect, key })
      nameless.delete(id)
      reached = stored
      entries++
    }
    ended = entries < STEP_ENTRIES
    await judge(suspects)
    await paced(entries)
  }
}

/** Waits after each step for as long as the pace asks for, and lets everything else have its turn. */
function pacer({ pace, signal }: VerifyOptions, runtime: IndexCheckComponents['runtime']) {
  const started = runtime.now()
  let entries = 0
  return async (read: number): Promise<void> => {
    signal?.throwIfAborted()
    entries += read
    const due = pace ? started + (entries / pace.keysPerSecond) * 1000 - runtime.now() : 0
    await new Promise<void>((resolve) => {
      if (due <= 0) return runtime.nextTurn(resolve)
      const cancel = runtime.after(due, finish, { background: true })
      function finish(): void {
        cancel()
        signal?.removeEventListener('abort', finish)
        resolve()
      }
      signal?.addEventListener('abort', finish)
    })
    signal?.throwIfAborted()
  }
}
