/**
 * The rows of a logged store as a copy of it takes them: data, Merkle index and head. The log's own rows stay behind: what is put
 * back later continues at a new place in the log, where no secondary has been, so each of them compares.
 */
import { type Cursor, keyIdOf, leafDigestOf, type PartitionId } from '@lockstep/replication'
import { DATA, decodeHead, decodeLeaf, encodeHead, encodeLeaf, HEAD, INDEX, LOG, parseIndexKey } from './layout.ts'

export const rowCopy = {
  /** Every copied row sorts before it, and no other row does. */
  before: LOG,
  head: HEAD,
  /** Below it is the data, by logical key. */
  data: DATA,
  /** Below it is the Merkle index. */
  index: INDEX,
  /** Where a logical key's value is. */
  dataRow: (key: string): string => DATA + key,
  /** Whether a row of this name is part of a copy. */
  includes: (row: string): boolean => row === HEAD || row.startsWith(DATA) || row.startsWith(INDEX),
}

/** The place a stored head row names. Throws `REPLICATION_CORRUPT` or `REPLICATION_NEWER_FORMAT`. */
export function copiedHead(stored: Uint8Array): Cursor {
  const { epoch, index, digest } = decodeHead(stored)
  return { epoch, index, digest }
}

/** The head row for a copy that goes on at another place, with no record kept. `digest`: 32 bytes that no history has had. */
export function continuedHead(stored: Uint8Array, { epoch, index, digest }: Cursor): Uint8Array {
  const { bytes } = decodeHead(stored)
  return encodeHead({
    ...{ epoch, index, digest, bytes },
    ...{ start: index + 1, digestBeforeStart: digest, bytesBeforeStart: bytes },
  })
}

/** The Merkle leaf in an index row; undefined for any other row. Throws `REPLICATION_CORRUPT`. */
export function copiedLeaf(
  row: string,
  value: Uint8Array,
): { partition: PartitionId; keyId: Uint8Array; digest: Uint8Array } | undefined {
  if (!row.startsWith(INDEX)) return undefined
  const { partition, keyId } = parseIndexKey(row)
  return { partition, keyId: Buffer.from(keyId, 'hex'), digest: decodeLeaf(value).digest }
}

/** Whether a row is the Merkle leaf of a logical key. */
export function isLeafOf(key: string): (row: string) => boolean {
  const end = `/${Buffer.from(keyIdOf(key)).toString('hex')}`
  return (row) => row.startsWith(INDEX) && row.endsWith(end)
}

/** The rows that put a value in the place of the one a logical key has; `leafRow` is the name of its leaf. */
export function replacedValue(leafRow: string, key: string, value: Uint8Array): [string, Uint8Array][] {
  return [
    [DATA + key, value],
    [leafRow, encodeLeaf(leafDigestOf(key, value), key)],
  ]
}
