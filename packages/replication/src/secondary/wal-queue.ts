/** Batches of the log that were received and wait to be applied. */
import type { Wal } from '../messages.ts'
import { parsePartitionId, type WalOperation } from '../types.ts'
import { entryBatch } from '../wal/coalesce.ts'

/** More than a primary's window and one record of the largest size: only a peer that ignores the rules gets there. */
const MAX_WAITING_BYTES = 96 * 1024 * 1024

export interface WalQueue {
  /** False when far more waits than the rules allow. */
  push(wal: Wal): boolean
  /** The oldest batches as one, and the last of them; undefined when there are none. */
  take(): { operations: WalOperation[]; last: Wal } | undefined
}

export function walQueue(maxBytes: number): WalQueue {
  let waiting: { wal: Wal; bytes: number }[] = []
  let waitingBytes = 0
  return {
    push(wal) {
      const bytes = bytesOf(wal)
      waiting.push({ wal, bytes })
      waitingBytes += bytes
      return waitingBytes <= MAX_WAITING_BYTES
    },
    take() {
      if (waiting.length === 0) return undefined
      const batch = entryBatch()
      let taken = 0
      while (taken < waiting.length && (taken === 0 || batch.bytes < maxBytes)) {
        const { wal, bytes } = waiting[taken]!
        for (const group of wal.groups) batch.addGroup(group)
        waitingBytes -= bytes
        taken++
      }
      const last = waiting[taken - 1]!.wal
      waiting = waiting.slice(taken)
      const operations: WalOperation[] = []
      for (const { partition, mountPath, key, value } of batch.entries()) {
        operations.push({ partition: parsePartitionId(partition)!, mountPath, key, value: value ?? undefined })
      }
      return { operations, last }
    },
  }
}

function bytesOf({ groups }: Wal): number {
  let bytes = 0
  for (const { keys, values } of groups) {
    for (const key of keys) bytes += key.length
    for (const value of values) bytes += value?.length ?? 0
  }
  return bytes
}
