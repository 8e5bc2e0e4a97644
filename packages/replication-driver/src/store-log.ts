import type { Engine } from '@lockstep/storage'
import { LoggedStoreError } from './errors.ts'
import { decodeRow, encodeHead, HEAD, logKey } from './layout.ts'
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
  return {
    head: log.head,
    oldest: () => state.start,
    digestAt: log.digestAt,
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
