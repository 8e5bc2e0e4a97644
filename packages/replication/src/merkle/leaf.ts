import { ReplicationError } from '../errors.ts'
import { sha256Parts } from '../sha256.ts'

/** Bytes of a key id: the place of a key in its partition's tree. */
export const KEY_ID_BYTES = 16
/** Bytes of a leaf digest: what the tree knows of the key's ciphertext. */
export const LEAF_DIGEST_BYTES = 32
/** Bytes of a packed entry: key id ‖ leaf digest. */
export const ENTRY_BYTES = KEY_ID_BYTES + LEAF_DIGEST_BYTES

const KEY_ID = new TextEncoder().encode('lockstep key id v1\n')
const LEAF = new TextEncoder().encode('lockstep leaf v1\n')

/** First 16 bytes of SHA-256(label ‖ key). */
export function keyIdOf(key: string): Uint8Array {
  return sha256Parts(KEY_ID, Buffer.from(key, 'utf8')).slice(0, KEY_ID_BYTES)
}

/** SHA-256(label ‖ length of key, 4 bytes big-endian ‖ key ‖ ciphertext). */
export function leafDigestOf(key: string, ciphertext: Uint8Array): Uint8Array {
  const keyBytes = Buffer.allocUnsafe(4 + key.length * 3)
  const length = keyBytes.write(key, 4, 'utf8')
  keyBytes.writeUInt32BE(length)
  return sha256Parts(LEAF, keyBytes.subarray(0, 4 + length), ciphertext)
}

/** A place in a tree: the first nibbles of the key ids below it, as lower-case hexadecimal digits. "" is the root. */
export type TreePath = string

const PATH = /^[0-9a-f]*$/

export function isTreePath(value: unknown): value is TreePath {
  return typeof value === 'string' && value.length <= KEY_ID_BYTES * 2 && PATH.test(value)
}

/** The nibble at `depth` of the key id that starts at `offset`. */
export function nibbleAt(bytes: Uint8Array, offset: number, depth: number): number {
  const byte = bytes[offset + (depth >> 1)]!
  return depth & 1 ? byte & 15 : byte >> 4
}

/** Whether the key id at `offset` lies below `path`. */
export function isUnder(path: TreePath, bytes: Uint8Array, offset = 0): boolean {
  for (let depth = 0; depth < path.length; depth++) {
    if (nibbleAt(bytes, offset, depth) !== nibbleOf(path, depth)) return false
  }
  return true
}

export function nibbleOf(path: TreePath, depth: number): number {
  const code = path.charCodeAt(depth)
  return code >= 97 ? code - 87 : code - 48
}

export const HEX_DIGITS = '0123456789abcdef'

/** Negative, zero or positive as the key id in `a` sorts before, at or after the one in `b`. */
export function compareKeyIds(a: Uint8Array, aOffset: number, b: Uint8Array, bOffset: number): number {
  for (let i = 0; i < KEY_ID_BYTES; i++) {
    const difference = a[aOffset + i]! - b[bOffset + i]!
    if (difference !== 0) return difference
  }
  return 0
}

export function checkLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) {
    throw new ReplicationError('REPLICATION_INVALID_ARGUMENT', `${what} has ${bytes.length} bytes, not ${length}`)
  }
}

export function checkPath(path: TreePath): void {
  if (!isTreePath(path)) throw new ReplicationError('REPLICATION_INVALID_ARGUMENT', 'not a tree path')
}
