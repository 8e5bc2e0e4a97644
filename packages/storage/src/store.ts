import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The storage contract. Keys are non-empty strings compared by their UTF-8 bytes, values are byte arrays.
 *
 * Ownership: a value passed in must not be changed by the caller afterwards; a value handed out must not be changed by
 * the receiver. Absent keys read as `undefined`, never as an error.
 */
export type Entry = readonly [key: string, value: Uint8Array]

/** Half-open and closed bounds over keys; all given bounds apply together. */
export interface ScanRange {
  /** Only keys that start with this string. Default: every key. */
  prefix?: string
  /** Only keys strictly greater than this one. */
  after?: string
  /** Only keys strictly smaller than this one. */
  before?: string
  /** At most this many entries. Default: no limit. */
  limit?: number
  /** Descending key order. Default false. */
  reverse?: boolean
}

export interface ListOptions {
  /** Only children that sort strictly after this child name. */
  after?: string
  /** At most this many children. Default: no limit. */
  limit?: number
}

export interface Reader {
  get(key: string): Promise<Uint8Array | undefined>
  /** Same order as `keys`; `undefined` where a key is absent. */
  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>
  /**
   * Immediate children of `prefix` ("" or ending in "/"), sorted, without the prefix: `name` for a key
   * `prefix + name`, `name/` once for all deeper keys.
   */
  list(prefix: string, options?: ListOptions): Promise<string[]>
  /** Entries in key order, from one consistent snapshot taken when iteration starts. */
  scan(range?: ScanRange): AsyncIterable<Entry>
}

/**
 * A serializable transaction. Reads see one snapshot, taken at the first of them, plus the transaction's own writes.
 * `commit` rejects with `StorageError` code `STORAGE_CONFLICT`, having changed nothing, when no order of
 * the commits explains what it read and wrote; most stores reject whenever a key or range it read was
 * changed since by another commit. A read may already reject so. Writes of keys that were not read never conflict. After `commit` or `abort` every call rejects with `STORAGE_CLOSED_TRANSACTION`.
 */
export interface Transaction extends Reader {
  put(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
  /** Resolves once the writes are durable (survive power loss), all or none of them. */
  commit(): Promise<void>
  /** Discards the writes. Calling it after commit or abort is allowed and does nothing. */
  abort(): Promise<void>
}

/** What a store can hold. A commit past a limit rejects with `STORAGE_TOO_LARGE`, having changed nothing. */
export interface StoreLimits {
  /** Longest value, bytes. */
  readonly valueBytes: number
  /** Keys and values of one commit together, bytes. */
  readonly commitBytes: number
  /**
   * Keys and values that one request to the storage takes, bytes. A commit may need more, which costs more than one
   * request; commits that are written together had better stay below.
   */
  readonly groupBytes: number
}

export interface Store extends Reader {
  /** Absent: none worth knowing of. */
  readonly limits?: StoreLimits | undefined
  /** One-write transactions; durable when resolved. Deleting an absent key succeeds. */
  put(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
  begin(): Promise<Transaction>
  /** Idempotent. Later calls reject with `STORAGE_CLOSED`. Waits for commits under way. */
  close(): Promise<void>
}

/**
 * Runs `body` in a transaction and commits it, again from the start on `STORAGE_CONFLICT`, at most `attempts` times
 * (default 16), with a random pause of at most 32 ms between later attempts (`pause` takes its place; it is told the attempt, from 1). `body` must have no side effects outside the transaction.
 */
export async function transact<T>(
  store: { begin(): Promise<Transaction> },
  body: (transaction: Transaction) => Promise<T>,
  options: { attempts?: number; pause?(attempt: number): Promise<void> } = {},
): Promise<T> {
  const { attempts = 16, pause = randomPause } = options
  for (let attempt = 1; ; attempt++) {
    const transaction = await store.begin()
    try {
      const result = await body(transaction)
      await transaction.commit()
      return result
    } catch (error) {
      await transaction.abort()
      if (attempt >= attempts || !isConflict(error)) throw error
      await pause(attempt)
    }
  }
}

async function randomPause(attempt: number): Promise<void> {
  if (attempt > 2) await sleep(Math.random() * Math.min(2 ** (attempt - 2), 32))
}

function isConflict(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === 'STORAGE_CONFLICT'
}
