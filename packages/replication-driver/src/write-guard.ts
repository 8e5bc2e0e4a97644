import { RECORD_LIMITS } from '@lockstep/replication'
import { LoggedStoreError } from './errors.ts'
import type { KeyClass } from './logged-store.ts'

/** What a transaction has written so far: bytes to be shipped, and one key class of each kind. */
export interface WriteTally {
  bytes: number
  replicated: KeyClass | undefined
  local: KeyClass | undefined
}

export interface WriteGuard {
  /** Throws `REPLICATION_READ_ONLY`, or `REPLICATION_TOO_LARGE` for what no log record could hold. */
  check(key: string, value: Uint8Array | undefined, tally: WriteTally): void
  recheck(tally: WriteTally): void
}

export interface WriteGuardComponents {
  classify(key: string): KeyClass
  writable(keyClass: KeyClass): boolean
  maxCommitBytes: number
}

/** Flags, lengths, mount id and a generous mount path of one logged operation. */
const OPERATION_OVERHEAD = 256

export function writeGuard(components: WriteGuardComponents): WriteGuard {
  const { maxCommitBytes } = components
  const allow = (keyClass: KeyClass) => {
    if (!components.writable(keyClass)) {
      throw new LoggedStoreError('REPLICATION_READ_ONLY', 'cannot write to readonly storage')
    }
  }
  return {
    check(key, value, tally) {
      const keyClass = components.classify(key)
      allow(keyClass)
      if (keyClass.class === 'ignored') return
      tally[keyClass.class] = keyClass
      tally.bytes += key.length * 3 + (value?.byteLength ?? 0) + OPERATION_OVERHEAD
      if (tally.bytes > maxCommitBytes) {
        throw new LoggedStoreError(
          'REPLICATION_TOO_LARGE',
          `a transaction may write at most ${maxCommitBytes} bytes of replicated storage`,
        )
      }
      const { keyBytes } = RECORD_LIMITS
      if (key.length * 3 > keyBytes && Buffer.byteLength(key) > keyBytes) {
        throw new LoggedStoreError('REPLICATION_TOO_LARGE', `a replicated key may have at most ${keyBytes} bytes`)
      }
    },
    recheck(tally) {
      if (tally.replicated) allow(tally.replicated)
      if (tally.local) allow(tally.local)
    },
  }
}
