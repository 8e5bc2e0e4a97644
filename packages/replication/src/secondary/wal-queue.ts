/** Batches of the log that were received and wait to be applied. */
import type { Wal } from '../messages.ts'
import { parsePartitionId, type WalOperation } from '../types.ts'
import { entryBatch } from '../wal/coalesce.ts'

export interface WalQueue {
  push(wal: Wal): void
  /** The oldest batches as one, and the last of them; undefined when there are none. */
  take(): { operations: WalOperation[]; last: Wal } | undefined
}

export function walQueue(maxBytes: number): WalQueue {
  let waiting: Wal[] = []
  return {
    push: (wal) => {
      waiting.push(wal)
    },
    take() {
      if (waiting.length === 0) return undefined
      const batch = entryBatch()
      let taken = 0
      while (taken < waiting.length && (taken === 0 || batch.bytes < maxBytes)) {
        for (const group of waiting[taken]!.groups) batch.addGroup(group)
        taken++
      }
      const last = waiting[taken - 1]!
      waiting = waiting.slice(taken)
      const operations: WalOperation[] = []
      for (const { partition, mountPath, key, value } of batch.entries()) {
        operations.push({ partition: parsePartitionId(partition)!, mountPath, key, value: value ?? undefined })
      }
      return { operations, last }
    },
  }
}
