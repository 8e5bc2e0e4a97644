import type { Cursor, WalOperation, WalRecord } from '@lockstep/replication'
import { decodeRecord, encodeRecord, nextDigest } from '@lockstep/replication'
import type { Engine, WriteOperation } from '@lockstep/storage'
import { LoggedStoreError } from './errors.ts'
import {
  corrupt,
  decodeRow,
  encodeHead,
  encodeRow,
  HEAD,
  indexOfLogKey,
  LOG,
  type LogState,
  type LogTimes,
  logKey,
} from './layout.ts'
import { logTail, type TailRecord } from './log-tail.ts'
import type { Runtime } from './runtime.ts'

/** Appends of one commit group, on their way to the disk. */
export interface StagedAppends {
  readonly state: LogState & LogTimes
  append(operations: readonly WalOperation[]): void
  /** Rows and head to be written with the group; empty when nothing was appended. */
  writes(): WriteOperation[]
}

export interface RecordLog {
  readonly state: LogState & LogTimes
  /** What is in memory of a record. */
  recent(index: number): TailRecord | undefined
  /** `keep` false advances the head without rows, and gives up the rows there are. */
  stage(keep: boolean): StagedAppends
  /** The staged appends are durable. Returns the range of rows given up, if any. */
  adopt(staged: StagedAppends): { from: number; to: number } | undefined
  /** Tells the `onAppend` listeners. */
  announce(): void
  head(): Cursor
  digestAt(index: number): Promise<Uint8Array | undefined>
  read(after: number, maxBytes: number): Promise<WalRecord[]>
  onAppend(listener: (head: Cursor) => void): () => void
}

/** Reads from disk go in pieces of at most this many rows. */
const READ_ROWS = 128

export function recordLog(
  physical: Engine,
  state: LogState & LogTimes,
  { tailBytes, runtime }: { tailBytes: number; runtime: Pick<Runtime, 'now'> },
): RecordLog {
  const tail = logTail(tailBytes)
  const listeners = new Set<(head: Cursor) => void>()
  const pending = new WeakMap<StagedAppends, TailRecord[]>()

  const head = (): Cursor => ({ epoch: state.epoch, index: state.index, digest: state.digest })

  const readDisk = async (after: number, maxBytes: number): Promise<WalRecord[]> => {
    const records: WalRecord[] = []
    let bytes = 0
    let last = after
    // Rows are only ever removed from the old end, so a row out of sequence means a trim overtook the reader.
    while (bytes < maxBytes && last < state.index) {
      const range = { prefix: LOG, after: logKey(last), before: logKey(state.index + 1), limit: READ_ROWS }
      const from = last
      for await (const [key, value] of physical.scan(range)) {
        if (indexOfLogKey(key) !== last + 1) throw trimmed(last)
        const { body } = decodeRow(value)
        if (records.length > 0 && bytes + body.byteLength > maxBytes) return records
        const record = decodeRecord(body)
        if (record.index !== last + 1) throw corrupt('a log record')
        records.push(record)
        bytes += body.byteLength
        last++
      }
      if (last === from) throw trimmed(last)
    }
    return records
  }

  const readTail = (after: number, maxBytes: number): WalRecord[] => {
    const records: WalRecord[] = []
    let bytes = 0
    for (let index = after + 1; index <= state.index; index++) {
      const entry = tail.at(index)!
      if (records.length > 0 && bytes + entry.size > maxBytes) break
      records.push(entry.record)
      bytes += entry.size
    }
    return records
  }

  return {
    state,
    recent: tail.at,
    stage(keep) {
      const next = { ...state }
      // A clock that was set back must not make newer records seem older than those before them.
      next.lastTime = Math.max(next.lastTime, Math.floor(runtime.now()))
      const entries: TailRecord[] = []
      const rows: WriteOperation[] = []
      const staged: StagedAppends = {
        state: next,
        append(operations) {
          const record: WalRecord = { epoch: next.epoch, index: next.index + 1, operations }
          const body = encodeRecord(record)
          next.index = record.index
          next.digest = nextDigest(next.digest, body)
          next.bytes += body.byteLength
          if (keep) {
            const { digest, bytes, lastTime: time } = next
            next.startTime ??= time
            rows.push({ type: 'put', key: logKey(record.index), value: encodeRow({ digest, bytes, time, body }) })
            entries.push({ record, digest, bytes, time, size: body.byteLength })
          } else {
            next.start = next.index + 1
            next.digestBeforeStart = next.digest
            next.bytesBeforeStart = next.bytes
            next.startTime = undefined
          }
        },
        writes() {
          if (next.index !== state.index) rows.push({ type: 'put', key: HEAD, value: encodeHead(next) })
          return rows
        },
      }
      pending.set(staged, entries)
      return staged
    },
    adopt(staged) {
      const next = staged.state
      if (next.index === state.index) return undefined
      const skipped = next.start > next.index
      const given = skipped && state.start <= state.index ? { from: state.start, to: state.index } : undefined
      Object.assign(state, next)
      if (skipped) tail.clear()
      else for (const entry of pending.get(staged)!) tail.push(entry)
      return given
    },
    announce() {
      for (const listener of listeners) {
        try {
          listener(head())
        } catch {
          // A listener's failure is its own; the commit is durable.
        }
      }
    },
    head,
    async digestAt(index) {
      if (index === state.index) return state.digest
      if (index === state.start - 1) return state.digestBeforeStart
      if (index < state.start || index > state.index) return undefined
      const held = tail.at(index)
      if (held) return held.digest
      const row = await physical.get(logKey(index))
      return row && decodeRow(row).digest
    },
    async read(after, maxBytes) {
      if (after >= state.index) return []
      if (after + 1 < state.start) throw trimmed(after)
      const first = tail.first
      return first !== undefined && after + 1 >= first ? readTail(after, maxBytes) : await readDisk(after, maxBytes)
    },
    onAppend(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function trimmed(after: number): LoggedStoreError {
  return new LoggedStoreError('REPLICATION_LOG_TRIMMED', `log record ${after + 1} is no longer kept`)
}
