/**
 * Care for the Merkle index: rebuilt from the data on request (reindex), compared with it on request (merkle-check) and from time to time
 * (scrub). One of them at a time, beside reads and writes, which never wait for it. What was found last is kept over restarts.
 */
import { readJson, writeJson } from '@lockstep/backend'
import { CLASSES_OF_KIND, type ShippedClass } from '@lockstep/replication'
import { type IndexReport, type LoggedStore, type ScrubUpstream, scrub } from '@lockstep/replication-driver'
import type { Store } from '@lockstep/storage'
import { type Clock, CoreError, type Log } from '../../contracts.ts'
import type { ReplicationKind } from '../role-records.ts'
import { corruptedClasses, type MerkleCorruptionReport, merkleCorruptionReport } from './merkle-check.ts'

export interface ReindexInput {
  /** Compare once more, key by key, after the repair, and say what is still wrong. */
  diff: boolean
  /** Repeat the rebuild until one finds nothing to repair, at most five times. */
  force: boolean
}

export interface IndexCareComponents {
  store: Pick<LoggedStore, 'verify' | 'forest'>
  /** The barrier. */
  storage: Pick<Store, 'get' | 'put'>
  clock: Clock
  log: Log
  /** The primary that this cluster follows, for what a scrub finds damaged. Default: none. */
  upstream?(): ScrubUpstream | undefined
  /** The index has changed: what other clusters were told of it may not hold any more. */
  repaired(): void
}

export interface IndexCareOptions {
  /** ms between two scrubs; 0 = never. */
  scrubIntervalMs: number
}

export interface IndexCare {
  /** Resolves once it has begun. Rejects with CORE_INVALID_REQUEST while an operator's other one is under way. */
  reindex(input: ReindexInput): Promise<void>
  /** Compares without repairing. Rejects as `reindex` does. */
  check(): Promise<MerkleCorruptionReport>
  /** Fields of the status document. */
  status(kind: ReplicationKind): Record<string, unknown>
  /** For metrics: stage 0 to 4, 0 = none under way; keys. */
  progress(): { stage: number; progress: number; total: number }
  /** Waits for what is under way to be given up. */
  stop(): Promise<void>
}

/** Go's zero time in Unix seconds: "never". */
const NEVER = '-62135596800'
/** Class `ignored`: each cluster has an index of its own. */
const RECORD = 'core/replication/index-care'
/** Vault's numbers, of which a rebuild that keeps up with writes by itself needs two. */
const STAGES = { building: 2, verifying: 4 } as const
const MAX_REBUILDS = 5

/** ms since the epoch, 0 = never. */
interface CareRecord {
  reindexed: number
  checked: number
  /** As of the last check. */
  corrupted: ShippedClass[]
  scrub: ScrubRecord | null
}

interface ScrubRecord {
  finished: number
  keys: number
  differences: number
  repaired: number
}

interface Running {
  stop: AbortController
  what: 'reindex' | 'merkle-check'
  stage: keyof typeof STAGES
  progress: number
  total: number
}

const NOTHING: CareRecord = { reindexed: 0, checked: 0, corrupted: [], scrub: null }

export async function indexCare(components: IndexCareComponents, options: IndexCareOptions): Promise<IndexCare> {
  const { store, storage, clock, log } = components
  let record: CareRecord = { ...NOTHING, ...((await readJson(storage, RECORD)) as Partial<CareRecord> | undefined) }
  let running: Running | undefined
  let ended: Promise<unknown> = Promise.resolve()
  let stopped = false

  async function remember(change: Partial<CareRecord>): Promise<void> {
    const next = { ...record, ...change }
    await writeJson(storage, RECORD, next)
    record = next
  }

  /** One at a time. `done` is the work, begun. */
  async function begin<T>(what: Running['what'], work: (now: Running) => Promise<T>): Promise<{ done: Promise<T> }> {
    if (stopped) throw new CoreError('CORE_UNAVAILABLE', 'the server is changing its state, try again')
    if (running !== undefined) {
      throw new CoreError('CORE_INVALID_REQUEST', `a ${running.what} is in progress; wait until it is done`)
    }
    const now: Running = { what, stop: new AbortController(), stage: 'building', progress: 0, total: countKeys(store) }
    running = now
    const done = work(now).finally(() => {
      running = undefined
    })
    ended = done.catch(() => {})
    return { done }
  }

  function verify(now: Running, repair: boolean, stage: Running['stage']): Promise<IndexReport> {
    now.stage = stage
    now.progress = 0
    return store.verify({
      repair,
      signal: now.stop.signal,
      onProgress(keys: number): void {
        now.progress = keys
        now.total = Math.max(now.total, keys)
      },
    })
  }

  async function rebuild(now: Running, { diff, force }: ReindexInput): Promise<void> {
    let report = await verify(now, true, 'building')
    let { repaired } = report
    for (let round = 1; force && report.total > 0 && round < MAX_REBUILDS; round++) {
      report = await verify(now, true, 'building')
      repaired += report.repaired
    }
    if (diff) report = await verify(now, false, 'verifying')
    const corrupted = diff ? corruptedClasses(report) : []
    const at = clock.now()
    await remember({ reindexed: at, ...(diff ? { checked: at } : {}), corrupted })
    log.info('the Merkle index was rebuilt from the data', { keys: report.keys, repaired })
    if (repaired > 0) components.repaired()
  }

  const scrubbing =
    options.scrubIntervalMs <= 0
      ? undefined
      : scrub(
          {
            store,
            upstream: components.upstream,
            onReport(report) {
              const kept = scrubbed(report).catch(logFailure('what the scrub found could not be kept'))
              ended = Promise.all([ended, kept])
            },
            onFailed: logFailure('the scrub failed'),
          },
          { intervalMs: Math.min(options.scrubIntervalMs, LONGEST_TIMER_MS) },
        )

  /** What it repaired is being fetched from the primary anew; what it did not is for an operator to judge. */
  async function scrubbed(report: IndexReport): Promise<void> {
    const finished = clock.now()
    const { keys, total: differences, repaired } = report
    const corrupted = repaired === differences ? [] : corruptedClasses(report)
    await remember({ scrub: { finished, keys, differences, repaired }, checked: finished, corrupted })
    if (differences > 0) {
      log.error('the scrub found the Merkle index to differ from the data', { keys, differences, repaired })
    }
  }

  /** One that was told to stop has not failed. */
  function logFailure(message: string): (error: unknown) => void {
    return (error) => {
      if (!stopped && (error as { name?: unknown }).name !== 'AbortError') log.error(message, { error: String(error) })
    }
  }

  return {
    async reindex(input) {
      const { done } = await begin('reindex', (now) => rebuild(now, input))
      done.catch(logFailure('reindexing failed'))
    },
    async check() {
      const { done } = await begin('merkle-check', async (now) => {
        const report = await verify(now, false, 'verifying')
        const checked = clock.now()
        await remember({ checked, corrupted: corruptedClasses(report) })
        return merkleCorruptionReport(report, checked)
      })
      return done
    },
    status(kind) {
      const { reindexed, checked, corrupted, scrub: last } = record
      return {
        last_reindex_epoch: reindexed === 0 ? '0' : seconds(reindexed),
        corrupted_merkle_tree: corrupted.some((storageClass) => CLASSES_OF_KIND[kind].includes(storageClass)),
        last_corruption_check_epoch: checked === 0 ? NEVER : seconds(checked),
        ...(running?.what === 'reindex'
          ? {
              reindex_in_progress: true,
              reindex_stage: running.stage,
              reindex_building_progress: running.progress,
              reindex_building_total: running.total,
            }
          : {}),
        // Beyond Vault.
        ...(last === null ? {} : { last_scrub: { ...last, finished: new Date(last.finished).toISOString() } }),
      }
    },
    progress() {
      if (running?.what !== 'reindex') return { stage: 0, progress: 0, total: 0 }
      return { stage: STAGES[running.stage], progress: running.progress, total: running.total }
    },
    async stop() {
      stopped = true
      running?.stop.abort()
      await Promise.all([scrubbing?.close(), ended])
    },
  }
}

/** Timers take no longer delays. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

function countKeys({ forest }: Pick<LoggedStore, 'forest'>): number {
  return forest.partitions().reduce((sum, partition) => sum + forest.count(partition), 0)
}

function seconds(time: number): string {
  return String(Math.floor(time / 1000))
}
