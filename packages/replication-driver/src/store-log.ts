import { sameDigest } from '@lockstep/replication'
import type { Engine } from '@lockstep/storage'
import { LoggedStoreError } from './errors.ts'
import { decodeHead, decodeRow, encodeHead, HEAD, logKey } from './layout.ts'
import type { LogConsumers } from './log-consumers.ts'
import type { LogTrimmer } from './log-trimmer.ts'
import type { Log } from './logged-store.ts'
import type { RecordLog } from './record-log.ts'

export interface StoreLogComponents {
  physical: Engine
  log: RecordLog
  trimmer: LogTrimmer
  consumers: LogConsumers
  caps: Log['caps']
  quietly<T>(body: () => Promise<T>): Promise<T>
}

/** The log of a logged store as others see it. */
export function storeLog({ physical, log, trimmer, consumers, caps, quietly }: StoreLogComponents): Log {
  const { state } = log

  /** A node that has lost the lead without knowing it would lead whoever is further back to its own place. */
  async function assertNewest(): Promise<void> {
    const stored = await physical.get(HEAD)
    const head = stored && decodeHead(stored)
    if (head?.index === state.index && head.epoch === state.epoch && sameDigest(head.digest, state.digest)) return
    throw new LoggedStoreError('REPLICATION_FENCED', 'another node has written to this log')
  }

  return {
    head: log.head,
    oldest: () => state.start,
    async digestAt(index) {
      if (index > state.index) await quietly(assertNewest)
      return log.digestAt(index)
    },
    read: log.read,
    onAppend: log.onAppend,
    retain: trimmer.retain,
    release: trimmer.release,
    trim: trimmer.trim,
    bytes: () => state.bytes - state.bytesBeforeStart,
    oldestTime: () => state.startTime,
    async timeAt(index) {
      if (index < state.start || index > state.index) return undefined
      const held = log.recent(index)
      if (held) return held.time
      const row = await physical.get(logKey(index))
      return row && decodeRow(row).time
    },
    consumers: () => consumers.list().sort((a, b) => a.index - b.index),
    caps,
    startEpoch: (epoch) =>
      quietly(async () => {
        if (!Number.isSafeInteger(epoch) || epoch <= state.epoch) {
          throw new LoggedStoreError('REPLICATION_INVALID', `epoch ${epoch} does not follow epoch ${state.epoch}`)
        }
        await physical.write([{ type: 'put', key: HEAD, value: encodeHead({ ...state, epoch }) }])
        state.epoch = epoch
      }),
  }
}
