import { StorageError, type WriteOperation } from '@lockstep/storage'
import { HEADER_BYTES, INLINE_HEADER, inPartsHeader, type Keyspace, MAX_VALUE_BYTES, newId } from './keyspace.ts'
import type { TxnOperation } from './messages.ts'

/** etcd's default --max-txn-ops: of comparisons, and of operations at each level of a Txn. */
export const MAX_TXN_OPERATIONS = 128
/** What an operation costs beside key and value: tags, lengths, its share of nested messages. Bytes. */
const OPERATION_BYTES = 32
/** Most bytes of one commit, keys and values. */
export const MAX_COMMIT_BYTES = 4 * MAX_VALUE_BYTES

/** A value that goes ahead of its commit, in parts. */
export interface ValueInParts {
  readonly key: string
  readonly id: Buffer
  readonly value: Uint8Array
}

export interface CommitPlan {
  readonly operations: TxnOperation[]
  readonly ahead: readonly ValueInParts[]
  /** About how long the encoded operations are. */
  readonly bytes: number
}

/** Ids of the values in parts that each key has, as far as is known. */
export type KnownParts = ReadonlyMap<string, { readonly ids: readonly Buffer[] }>

/**
 * What a commit puts into its Txn of at most `room` bytes. The longest values go ahead in parts, as many as it takes
 * until the rest fits.
 */
export function planCommit(
  writes: readonly WriteOperation[],
  keys: Keyspace,
  known: KnownParts,
  room: number,
): CommitPlan {
  let bytes = 0
  const stored = writes.map((write) => {
    const key = keys.data(write.key)
    bytes += key.byteLength + OPERATION_BYTES
    if (write.type === 'put') {
      if (write.value.byteLength > MAX_VALUE_BYTES) throw tooLarge(`a value of at most ${MAX_VALUE_BYTES} bytes`)
      bytes += write.value.byteLength + 1
    }
    for (const id of known.get(write.key)?.ids ?? [])
      bytes += 2 * keys.partsOf(write.key, id).key.byteLength + OPERATION_BYTES
    return key
  })
  if (bytes > MAX_COMMIT_BYTES) throw tooLarge(`a commit of at most ${MAX_COMMIT_BYTES} bytes`)

  const ahead = new Map<string, ValueInParts>()
  if (bytes > room) {
    const longest = writes
      .filter((write) => write.type === 'put' && write.value.byteLength > HEADER_BYTES)
      .sort((a, b) => valueIn(b).byteLength - valueIn(a).byteLength)
    for (const write of longest) {
      const value = valueIn(write)
      bytes -= value.byteLength + 1 - HEADER_BYTES
      ahead.set(write.key, { key: write.key, id: newId(), value })
      if (bytes <= room) break
    }
    if (bytes > room) {
      const rest = `${writes.length} operations need ${bytes} bytes without their values`
      throw tooLarge(`a commit whose keys fit into one request of ${room} bytes (etcd's --max-request-bytes); ${rest}`)
    }
  }

  const operations: TxnOperation[] = []
  let deletes = false
  for (const [i, write] of writes.entries()) {
    const key = stored[i]!
    // Those there may be from before; etcd does not mind when they are gone.
    for (const id of known.get(write.key)?.ids ?? []) {
      const range = keys.partsOf(write.key, id)
      operations.push({ type: 'delete', key: range.key, end: range.end })
    }
    const part = ahead.get(write.key)
    if (write.type === 'delete') {
      deletes = true
      operations.push({ type: 'delete', key })
    } else {
      const parts = part ? [inPartsHeader(part.id, part.value.byteLength)] : [INLINE_HEADER, write.value]
      operations.push({ type: 'put', key, parts })
    }
  }
  if (deletes) operations.push({ type: 'put', key: keys.deleted, parts: [] })
  return { operations, ahead: [...ahead.values()], bytes }
}

/**
 * etcd limits the operations of a Txn and those of each Txn nested in it together, so a commit of many is a tree: m
 * nested Txns of up to 128 - m each. `reserved` operations are added at the top by the caller.
 */
export function nest(
  operations: readonly TxnOperation[],
  reserved: number,
  limit = MAX_TXN_OPERATIONS,
): TxnOperation[] {
  if (operations.length + reserved <= limit) return [...operations]
  const width = Math.floor(limit / 2) - reserved
  const below = limit - width - reserved
  // As many levels as it takes: each child gets an even share.
  const share = Math.max(below, Math.ceil(operations.length / width))
  const nested: TxnOperation[] = []
  for (let at = 0; at < operations.length; at += share) {
    nested.push({ type: 'nested', operations: nest(operations.slice(at, at + share), 0, below) })
  }
  return nested
}

function valueIn(write: WriteOperation): Uint8Array {
  return (write as { value: Uint8Array }).value
}

function tooLarge(expected: string): StorageError {
  return new StorageError('STORAGE_TOO_LARGE', `expected ${expected}`)
}
