import type { MerkleForest, PartitionId } from '@lockstep/replication'
import { genesisCursor, merkleForest } from '@lockstep/replication'
import type { Engine, ListOptions, Store } from '@lockstep/storage'
import { optimisticStore, storeEngine } from '@lockstep/storage'
import { commitGroups } from './commit-groups.ts'
import type { Change } from './commit-planner.ts'
import { LoggedStoreError } from './errors.ts'
import { checkIndex } from './index-check.ts'
import {
  decodeHead,
  decodeLeaf,
  decodeRow,
  encodeHead,
  HEAD,
  INDEX,
  isFormerHead,
  type LogState,
  type LogTimes,
  logKey,
  parseIndexKey,
} from './layout.ts'
import { logConsumers } from './log-consumers.ts'
import { findRubbish, logTrimmer } from './log-trimmer.ts'
import type { LoggedStore, LoggedStoreOptions } from './logged-store.ts'
import { LoggedTransaction } from './logged-transaction.ts'
import { partitionAccess } from './partition-access.ts'
import { physicalEngine } from './physical-engine.ts'
import { readCache } from './read-cache.ts'
import { recordLog } from './record-log.ts'
import { type Runtime, systemRuntime } from './runtime.ts'
import { storeLog } from './store-log.ts'
import { writeGuard } from './write-guard.ts'

const MIB = 1024 * 1024
const DAY_MS = 24 * 60 * 60 * 1000

/**
 * Opens a logged store, making it when the physical store has none; one at a time per physical store, or engine (which saves
 * a layer). Reads the whole Merkle index, not the data, to build the forest. Rejects with `REPLICATION_NEWER_FORMAT` or
 * `REPLICATION_CORRUPT`.
 */
export async function loggedStore(physicalStore: Store | Engine, options: LoggedStoreOptions): Promise<LoggedStore> {
  const engine = 'begin' in physicalStore ? storeEngine(physicalStore) : physicalStore
  const { runtime = systemRuntime, readOnly = false } = options
  const physical = readOnly ? withoutWrites(engine) : engine
  const state = await openState(physical, runtime, readOnly)
  const forest = await openForest(physical)
  const rubbish = readOnly ? undefined : await findRubbish(physical, state.start)

  const classify = (key: string) => options.classify(key)
  const log = recordLog(physical, state, { tailBytes: options.tailBytes ?? 16 * MIB, runtime })
  const consumers = logConsumers({ physical, state, recent: log.recent, now: () => runtime.now() })
  const cache = readCache(options.cacheBytes ?? 32 * MIB)
  const guard = writeGuard({
    classify,
    writable: (keyClass) => !readOnly && (options.writable?.(keyClass) ?? true),
    maxCommitBytes: options.maxCommitBytes ?? 24 * MIB,
  })
  const listeners = new Set<(keys: readonly string[], source: Change['source']) => void>()
  const mountPaths = new Map<PartitionId, string>()

  const groups = commitGroups({
    physical,
    forest,
    log,
    cache,
    classify,
    mountPaths,
    keepLog: () => options.keepLog?.() ?? true,
    placements: (commit) => partitions.placements(commit),
    discard: (range) => trimmer.discard(range),
    appended: () => trimmer.appended(),
    changed(changes) {
      if (listeners.size > 0) for (const change of changes) for (const listener of listeners) tell(listener, change)
    },
  })
  const caps = {
    bytes: options.logBytes ?? 256 * MIB,
    records: options.logRecords ?? Number.POSITIVE_INFINITY,
    ageMs: options.logMaxAgeMs ?? DAY_MS,
  }
  const trimmer = logTrimmer(
    { physical, state, consumers, quietly: groups.quietly, runtime },
    {
      logBytes: caps.bytes,
      logRecords: caps.records,
      logMaxAgeMs: caps.ageMs,
      trimDelayMs: options.trimDelayMs ?? 1000,
      onLogPressure: options.onLogPressure?.bind(options),
    },
  )
  if (rubbish) trimmer.discard(rubbish)
  // What it knows of the log's ends grows old; who writes trims.
  if (readOnly) await trimmer.stop()

  const store = optimisticStore(physicalEngine(physical, cache, groups.beside), {
    hooks: groups.hooks,
    nextTurn: runtime.nextTurn,
  })
  const partitions = partitionAccess({ physical, store, forest, classify, runtime })
  let closing: Promise<void> | undefined

  return {
    log: storeLog({ physical, log, trimmer, consumers, caps, quietly: groups.quietly }),
    forest,
    get: (key) => store.get(key),
    getMany: (keys) => store.getMany(keys),
    list: (prefix, listOptions) => store.list(prefix, listOptions),
    scan: (range) => store.scan(range),
    async put(key, value) {
      guard.check(key, value, { bytes: 0, replicated: undefined, local: undefined })
      return store.put(key, value)
    },
    async delete(key) {
      guard.check(key, undefined, { bytes: 0, replicated: undefined, local: undefined })
      return store.delete(key)
    },
    begin: async () => new LoggedTransaction(await store.begin(), guard),
    close() {
      closing ??= store.close().then(() => trimmer.stop())
      return closing
    },
    apply: (entries, ignored) => partitions.apply(entries, ignored),
    keysOf: (partition, keyIds) => partitions.keysOf(partition, keyIds),
    readEntries: (partition, keyIds) => partitions.readEntries(partition, keyIds),
    deletePartition: (partition, mountPath) => partitions.deletePartition(partition, mountPath),
    verify: (verifyOptions) =>
      checkIndex(
        { physical, forest, classify, quietly: groups.quietly, onLeaves: groups.onLeaves, runtime },
        verifyOptions,
      ),
    onChanged(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function tell(listener: (keys: readonly string[], source: Change['source']) => void, change: Change): void {
  try {
    listener(change.keys, change.source)
  } catch {
    // A listener's failure is its own; the commit is durable.
  }
}

/** Nothing gets through, whichever part of the store would write. */
function withoutWrites(engine: Engine): Engine {
  return {
    limits: engine.limits,
    get: (key) => engine.get(key),
    getMany: (keys) => engine.getMany(keys),
    scan: (range) => engine.scan(range),
    ...(engine.list ? { list: (prefix: string, options?: ListOptions) => engine.list!(prefix, options) } : {}),
    close: () => engine.close(),
    write: () => Promise.reject(new LoggedStoreError('REPLICATION_READ_ONLY', 'this store was opened to read')),
  }
}

async function openState(
  physical: Engine,
  runtime: Pick<Runtime, 'randomBytes'>,
  readOnly: boolean,
): Promise<LogState & LogTimes> {
  const state = await openHead(physical, runtime, readOnly)
  const [first, last] = await physical.getMany([logKey(state.start), logKey(state.index)])
  const kept = state.start <= state.index
  return {
    ...state,
    startTime: kept && first ? decodeRow(first).time : undefined,
    lastTime: kept && last ? decodeRow(last).time : 0,
  }
}

async function openHead(physical: Engine, runtime: Pick<Runtime, 'randomBytes'>, readOnly: boolean): Promise<LogState> {
  const stored = await physical.get(HEAD)
  if (stored && !isFormerHead(stored)) return decodeHead(stored)
  const state = stored ? withoutRows(decodeHead(stored)) : newState(runtime)
  if (!readOnly) await physical.write([{ type: 'put', key: HEAD, value: encodeHead(state) }])
  return state
}

/** The same place in the same history, with no record kept. Who was not at that place has to compare. */
function withoutRows(state: LogState): LogState {
  const { index, digest, bytes } = state
  return { ...state, start: index + 1, digestBeforeStart: digest, bytesBeforeStart: bytes }
}

function newState(runtime: Pick<Runtime, 'randomBytes'>): LogState {
  // Random, so that the empty histories of two clusters differ.
  const { epoch, index, digest } = genesisCursor(runtime.randomBytes(16))
  return { epoch, index, digest, bytes: 0, start: index + 1, digestBeforeStart: digest, bytesBeforeStart: 0 }
}

async function openForest(physical: Engine): Promise<MerkleForest> {
  const forest = merkleForest()
  for await (const [row, value] of physical.scan({ prefix: INDEX })) {
    const { partition, keyId } = parseIndexKey(row)
    forest.set(partition, Buffer.from(keyId, 'hex'), decodeLeaf(value).digest)
  }
  return forest
}
