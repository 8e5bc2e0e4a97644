import {
  boundsOf,
  childName,
  type Engine,
  type Entry,
  folderEnd,
  isEmptyRange,
  type KeyBounds,
  type ListOptions,
  listBounds,
  ReadQueue,
  type ScanRange,
  type WriteOperation,
} from '@lockstep/storage'
import type { ClassicLevel, Snapshot } from 'classic-level'
import { levelError } from './level-error.ts'
import type { MetaRecord } from './meta-record.ts'

/** Bytes of entries fetched per step of a scan; bounds the memory of a scan over large values. */
const PAGE_BYTES = 256 * 1024
const FIRST_PAGE = 32
const LARGEST_PAGE = 512

export type Database = ClassicLevel<string, Uint8Array>

/** The engine under `levelStore`, for layers that set commit hooks with `optimisticStore`. */
export interface LevelEngine extends Engine {
  /** The data directory. */
  readonly path: string
  /** A number greater than every one handed out before from this data directory; durable when resolved. */
  nextFencingToken(): Promise<bigint>
}

export class LevelDatabaseEngine implements LevelEngine {
  readonly path: string
  readonly #database: Database
  readonly #meta: MetaRecord
  readonly #reads: ReadQueue

  constructor(path: string, database: Database, meta: MetaRecord) {
    this.path = path
    this.#database = database
    this.#meta = meta
    this.#reads = new ReadQueue(
      {
        get: (key) => database.get(key).catch((error) => this.#fail(error)),
        getMany: (keys) => this.getMany(keys),
      },
      // In the thread pool, since a cold read must not stop the event loop. More than two jobs would not be faster:
      // LevelDB's reads are short, and the pool of four threads has other work.
      { jobs: 2 },
    )
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.#reads.get(key)
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return this.#database.getMany(keys as string[]).catch((error) => this.#fail(error))
  }

  async *scan(range: ScanRange): AsyncGenerator<Entry> {
    const bounds = boundsOf(range)
    const limit = range.limit ?? -1
    if (limit === 0 || isEmptyRange(bounds)) return
    const iterator = this.#database.iterator({
      ...levelRange(bounds),
      limit,
      reverse: range.reverse ?? false,
      highWaterMarkBytes: PAGE_BYTES,
    })
    try {
      for (let size = FIRST_PAGE; ; size = Math.min(size * 2, LARGEST_PAGE)) {
        const page = await iterator.nextv(size)
        if (page.length === 0) return
        yield* page
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      await iterator.close()
    }
  }

  async list(prefix: string, options: ListOptions = {}): Promise<string[]> {
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    const names: string[] = []
    const bounds = listBounds(prefix, options)
    if (limit <= 0) return names
    const snapshot = this.#database.snapshot()
    try {
      while (names.length < limit && !isEmptyRange(bounds)) {
        const folder = await this.#listRun(prefix, bounds, limit, snapshot, names)
        if (folder === undefined) break
        bounds.lower = folderEnd(folder)
        bounds.lowerInclusive = true
      }
      return names
    } catch (error) {
      return this.#fail(error)
    } finally {
      await snapshot.close()
    }
  }

  async write(operations: readonly WriteOperation[]): Promise<void> {
    try {
      const batch = this.#database.batch()
      for (const operation of operations) {
        if (operation.type === 'put') batch.put(operation.key, operation.value)
        else batch.del(operation.key)
      }
      await batch.write({ sync: true })
    } catch (error) {
      this.#fail(error)
    }
  }

  async close(): Promise<void> {
    await this.#database.close()
  }

  nextFencingToken(): Promise<bigint> {
    return this.#meta.nextFencingToken()
  }

  /**
   * Adds children to `names` up to the end (then undefined) or up to a folder so full that starting again behind it
   * (a new iterator, whose seek runs in the thread pool) beats reading through it (then that folder).
   */
  async #listRun(prefix: string, bounds: KeyBounds, limit: number, snapshot: Snapshot, names: string[]) {
    const iterator = this.#database.keys({ ...levelRange(bounds), snapshot })
    try {
      for (let size = FIRST_PAGE; ; size = Math.min(size * 2, LARGEST_PAGE)) {
        const page = await iterator.nextv(size)
        if (page.length === 0) return undefined
        for (const key of page) {
          const name = childName(prefix, key)
          if (name === names.at(-1)) continue
          names.push(name)
          if (names.length >= limit) return undefined
        }
        const last = names.at(-1)!
        if (last.endsWith('/') && childName(prefix, page[page.length >> 1]!) === last) return prefix + last
      }
    } finally {
      await iterator.close()
    }
  }

  #fail(error: unknown): never {
    throw levelError(error, this.path)
  }
}

/** Without a lower bound the range starts behind the empty key, which holds the meta record. */
function levelRange(bounds: KeyBounds) {
  const { lower = '', lowerInclusive, upper } = bounds
  const start = lowerInclusive && lower !== '' ? { gte: lower } : { gt: lower }
  return upper === undefined ? start : { ...start, lt: upper }
}
