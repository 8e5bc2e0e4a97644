import type { Engine } from '@lockstep/storage'
import { LoggedStoreError } from './errors.ts'
import { encodeHead, HEAD } from './layout.ts'
import type { LogTrimmer } from './log-trimmer.ts'
import type { Log } from './logged-store.ts'
import type { RecordLog } from './record-log.ts'

export interface StoreLogComponents {
  physical: Engine
  log: RecordLog
  trimmer: LogTrimmer
  quietly<T>(body: () => Promise<T>): Promise<T>
}

/** The log of a logged store as others see it. */
export function storeLog({ physical, log, trimmer, quietly }: StoreLogComponents): Log {
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
