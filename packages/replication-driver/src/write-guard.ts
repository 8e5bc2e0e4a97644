import { RECORD_LIMITS } from '@lockstep/replication'
import { invalidKey, MAX_KEY_BYTES, StorageError } from '@lockstep/storage'
import { LoggedStoreError } from './errors.ts'
import { DATA } from './layout.ts'
import type { KeyClass } from './logged-store.ts'

/** What a transaction has written so far: bytes to be shipped, and one key class of each kind. */
export interface WriteTally {
  bytes: number
  replicated: KeyClass | undefined
  local: KeyClass | undefined
}

export interface WriteGuard {
  /**
   * Throws `STORAGE_INVALID_KEY`, `REPLICATION_READ_ONLY`, or `REPLICATION_TOO_LARGE` for what no log record could hold: found
   * here, it fails one transaction, found while a group is prepared, all of the group.
   */
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
const MAX_LOGICAL_BYTES = MAX_KEY_BYTES - DATA.length

export function writeGuard(components: WriteGuardComponents): WriteGuard {
  const { maxCommitBytes } = components
  const allow = (keyClass: KeyClass) => {
    if (!components.writable(keyClass)) {
      throw new LoggedStoreError('REPLICATION_READ_ONLY', 'cannot write to readonly storage')
    }
  }
  return {
    check(key, value, tally) {
      const problem = invalidKey(key)
      if (problem) throw problem
      if (key.length * 3 > MAX_LOGICAL_BYTES && Buffer.byteLength(key) > MAX_LOGICAL_BYTES) {
        throw new StorageError('STORAGE_INVALID_KEY', `expected a key of at most ${MAX_LOGICAL_BYTES} bytes of UTF-8`)
      }
      const keyClass = components.classify(key)
      allow(keyClass)
      if (keyClass.class === 'ignored') return
      if (keyClass.mount === '' || keyClass.mount.includes('/')) {
        throw new LoggedStoreError('REPLICATION_INVALID', `${JSON.stringify(keyClass.mount)} is not a mount id`)
      }
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
