const BYTEA = 17

/** PostgreSQL's binary form of a one-dimensional `bytea[]`; as text it would be twice as long, in hexadecimal. */
export function byteaArray(values: readonly Uint8Array[]): Buffer {
  let length = 20
  for (const value of values) length += 4 + value.byteLength
  const array = Buffer.allocUnsafe(length)
  array.writeInt32BE(values.length === 0 ? 0 : 1, 0) // dimensions
  array.writeInt32BE(0, 4) // no NULLs
  array.writeInt32BE(BYTEA, 8)
  if (values.length === 0) return array.subarray(0, 12)
  array.writeInt32BE(values.length, 12)
  array.writeInt32BE(1, 16) // first index
  let at = 20
  for (const value of values) {
    at = array.writeInt32BE(value.byteLength, at)
    array.set(value, at)
    at += value.byteLength
  }
  return array
}

/** How much of a key the index holds; PostgreSQL refuses index entries over about 2,700 bytes. */
export const HEAD_BYTES = 1024

/** A key or bound as it is stored: its first bytes, and the rest, empty for nearly all keys. */
export interface SplitKey {
  readonly head: Buffer
  readonly tail: Buffer
}

export function splitKey(key: string | Buffer): SplitKey {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key
  return { head: bytes.subarray(0, HEAD_BYTES), tail: bytes.subarray(HEAD_BYTES) }
}

/** The smallest byte string greater than the key's. */
export function successor(key: string): Buffer {
  return Buffer.from(`${key}\0`)
}
