import type { WalRecord } from '@lockstep/replication'

export interface TailRecord {
  record: WalRecord
  digest: Uint8Array
  /** Bytes logged up to and with this record. */
  bytes: number
  /** ms since the epoch. */
  time: number
  /** Length of the encoded record. */
  size: number
}

/** The newest records, contiguous, in memory, so that a streaming secondary never reads the disk. */
export interface LogTail {
  push(entry: TailRecord): void
  /** Index of the oldest record held; undefined when empty. */
  readonly first: number | undefined
  at(index: number): TailRecord | undefined
  clear(): void
}

export function logTail(capacity: number): LogTail {
  let entries: TailRecord[] = []
  let offset = 0
  let bytes = 0

  return {
    push(entry) {
      entries.push(entry)
      bytes += entry.size
      while (bytes > capacity && offset < entries.length) bytes -= entries[offset++]!.size
      if (offset > 1024 && offset > entries.length / 2) {
        entries = entries.slice(offset)
        offset = 0
      }
    },
    get first() {
      return entries[offset]?.record.index
    },
    at(index) {
      const first = entries[offset]?.record.index
      return first === undefined || index < first ? undefined : entries[offset + index - first]
    },
    clear() {
      entries = []
      offset = 0
      bytes = 0
    },
  }
}
