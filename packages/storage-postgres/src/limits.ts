import { StorageError, type StoreLimits, type WriteOperation } from '@lockstep/storage'

const MIB = 1024 * 1024

/**
 * PostgreSQL itself ends at 1 GiB a message. Here values come as hexadecimal text, twice as long, which must stay well below the
 * longest string there can be; and a commit takes its length several times over in the server's memory.
 */
export const LIMITS: StoreLimits = { valueBytes: 64 * MIB, commitBytes: 256 * MIB, groupBytes: 8 * MIB }

/** Throws `STORAGE_TOO_LARGE`. */
export function assertFits(operations: readonly WriteOperation[]): void {
  let bytes = 0
  for (const operation of operations) {
    bytes += Buffer.byteLength(operation.key)
    if (operation.type === 'delete') continue
    const { byteLength } = operation.value
    if (byteLength > LIMITS.valueBytes) {
      throw tooLarge(
        `a value of at most ${LIMITS.valueBytes} bytes for key ${JSON.stringify(operation.key)}`,
        byteLength,
      )
    }
    bytes += byteLength
  }
  if (bytes > LIMITS.commitBytes) throw tooLarge(`a commit of at most ${LIMITS.commitBytes} bytes`, bytes)
}

function tooLarge(expected: string, found: number): StorageError {
  return new StorageError('STORAGE_TOO_LARGE', `expected ${expected}, found ${found}`)
}
