/**
 * SHA-256 over all that one batch of the log says. Both ends compute it from the fields, not from the frame, so it also covers
 * what happens to a message between the two sessions and the wire.
 *
 * Hashed are, in this order: label; both cursors (epoch and index as 8 bytes big-endian, digest); head, 8 bytes; one byte 0, or 1
 * and the guard; the number of groups, 4 bytes; and of each group partition, mount path (4 bytes length, UTF-8), the number of
 * entries, 4 bytes, and for each entry its key (as above) and its value (4 bytes length and the bytes, or ff ff ff ff for a
 * deletion).
 */
import { createHash, type Hash } from 'node:crypto'
import type { Wal, WireCursor } from '../messages.ts'

const LABEL = Buffer.from('lockstep wal batch v1\n')
const DELETION = 0xffffffff
/** Fields are gathered before they are hashed: calls cost more than copies. */
const chunk = Buffer.allocUnsafeSlow(64 * 1024)

export type SignedBatch = Pick<Wal, 'cursor' | 'head' | 'groups' | 'guard'> & { after: WireCursor }

/** 32 bytes. */
export function batchDigest({ after, cursor, head, groups, guard }: SignedBatch): Uint8Array {
  const writer = hashWriter(createHash('sha256'))
  writer.raw(LABEL)
  writer.cursor(after)
  writer.cursor(cursor)
  writer.integer(head)
  writer.raw(Uint8Array.of(guard ? 1 : 0))
  if (guard) writer.raw(guard)
  writer.uint32(groups.length)
  for (const { partition, mountPath, keys, values } of groups) {
    writer.text(partition)
    writer.text(mountPath)
    writer.uint32(keys.length)
    for (let i = 0; i < keys.length; i++) {
      writer.text(keys[i]!)
      const value = values[i]
      if (value) {
        writer.uint32(value.length)
        writer.raw(value)
      } else {
        writer.uint32(DELETION)
      }
    }
  }
  return writer.digest()
}

function hashWriter(hash: Hash) {
  let at = 0
  const room = (bytes: number): void => {
    if (bytes <= chunk.length - at) return
    hash.update(chunk.subarray(0, at))
    at = 0
  }
  const raw = (bytes: Uint8Array): void => {
    room(bytes.length)
    if (bytes.length > chunk.length) {
      hash.update(bytes)
    } else {
      chunk.set(bytes, at)
      at += bytes.length
    }
  }
  const uint32 = (value: number): void => {
    room(4)
    at = chunk.writeUInt32BE(value, at)
  }
  const integer = (value: number): void => {
    uint32(Math.floor(value / 2 ** 32))
    uint32(value % 2 ** 32)
  }
  return {
    raw,
    uint32,
    integer,
    cursor({ epoch, index, digest }: WireCursor) {
      integer(epoch)
      integer(index)
      raw(digest)
    },
    text(text: string) {
      const most = 4 + text.length * 3
      if (most > chunk.length) {
        const bytes = Buffer.from(text, 'utf8')
        uint32(bytes.length)
        raw(bytes)
        return
      }
      room(most)
      const length = chunk.write(text, at + 4, 'utf8')
      at = chunk.writeUInt32BE(length, at) + length
    },
    digest(): Uint8Array {
      hash.update(chunk.subarray(0, at))
      return hash.digest()
    },
  }
}
