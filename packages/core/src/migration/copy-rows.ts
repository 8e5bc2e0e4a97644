/** Copies rows from one storage to another: one reader, several writers, batches that the destination takes at once. */
import { type Store, type StoreLimits, storeEngine, type WriteOperation } from '@lockstep/storage'

export interface CopyOptions {
  /** Copy from this name on. Default: from the first. */
  start?: string | undefined
  includes(name: string): boolean
  /** Batches written at the same time. */
  maxParallel: number
  /** Rows of a batch at most. Default 1000. */
  batchRows?: number | undefined
  signal: AbortSignal
  /** Rows that are durable. */
  onRows?(count: number): void
}

export interface Copied {
  /** Undefined when all of it was copied; else everything before this name is durable. */
  stoppedAt: string | undefined
}

/**
 * Rows read from one snapshot of the source, which then lives for seconds: storages keep what was deleted since, or compact it away. Not fewer, as
 * etcd walks all that is left of its index for each page, and a scan begins with short ones.
 */
const PAGE_ROWS = 100_000
const BATCH_ROWS = 1000
const BATCH_BYTES = 1024 * 1024

/** Rejects with what failed; `stoppedAt` is set on the error then. */
export async function copyRows(source: Pick<Store, 'scan'>, destination: Store, options: CopyOptions): Promise<Copied> {
  const { start, includes, maxParallel, batchRows = BATCH_ROWS, signal } = options
  const engine = storeEngine(destination)
  const batchBytes = Math.min(BATCH_BYTES, roomOf(destination.limits))
  /** First names of the batches under way, and the writes of them. */
  const underWay = new Map<Promise<void>, string>()
  let failure: unknown

  async function put(batch: WriteOperation[]): Promise<void> {
    if (batch.length === 0) return
    while (underWay.size >= maxParallel) await Promise.race(underWay.keys())
    if (failure !== undefined) return
    const first = batch[0]!.key
    const written: Promise<void> = engine.write(batch).then(
      () => {
        underWay.delete(written)
        options.onRows?.(batch.length)
      },
      (error: unknown) => {
        // Stays among those under way: what is durable ends before it.
        failed.set(written, first)
        underWay.delete(written)
        failure ??= error
      },
    )
    underWay.set(written, first)
  }
  const failed = new Map<Promise<void>, string>()

  let next: string | undefined = start
  let inclusive = start !== undefined
  let pending: string | undefined = start ?? ''
  read: for (;;) {
    let rows = 0
    let batch: WriteOperation[] = []
    let bytes = 0
    // A first row that is to be part of it is read by itself.
    if (inclusive) {
      const value = await valueAt(source, next!)
      if (value !== undefined && includes(next!)) batch.push({ type: 'put', key: next!, value })
      inclusive = false
    }
    for await (const [key, value] of source.scan({
      ...(next === undefined ? {} : { after: next }),
      limit: PAGE_ROWS,
    })) {
      rows++
      next = key
      if (!includes(key)) continue
      if (batch.length > 0 && (batch.length >= batchRows || bytes + key.length * 3 + value.byteLength > batchBytes)) {
        await put(batch)
        batch = []
        bytes = 0
      }
      batch.push({ type: 'put', key, value })
      bytes += key.length + value.byteLength
      if (failure !== undefined || signal.aborted) {
        pending = batch[0]!.key
        break read
      }
    }
    await put(batch)
    if (rows < PAGE_ROWS) {
      pending = undefined
      break
    }
  }
  await Promise.all(underWay.keys())
  const stoppedAt = least([...failed.values(), ...(pending === undefined ? [] : [pending])])
  if (failure !== undefined) throw Object.assign(failure as Error, { stoppedAt })
  return { stoppedAt }
}

async function valueAt(source: Pick<Store, 'scan'>, name: string): Promise<Uint8Array | undefined> {
  for await (const [key, value] of source.scan({ prefix: name, limit: 1 })) if (key === name) return value
  return undefined
}

function least(names: readonly string[]): string | undefined {
  return names
    .map((name) => Buffer.from(name))
    .sort(Buffer.compare)[0]
    ?.toString()
}

/** A request of etcd has to hold the batch and what it costs beside names and values. */
function roomOf(limits: StoreLimits | undefined): number {
  return limits === undefined ? Number.POSITIVE_INFINITY : Math.floor(limits.groupBytes / 2)
}
