import { hash } from 'node:crypto'

// One scratch buffer: most inputs are small, and a one-shot hash of joined parts is several times faster than a
// streaming hash object.
let scratch = new Uint8Array(4096)

/** SHA-256 of the joined parts, as a fresh array of 32 bytes. */
export function sha256Parts(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  if (length > scratch.length) {
    if (length > 1 << 20) return sha256(Buffer.concat(parts, length))
    scratch = new Uint8Array(1 << Math.ceil(Math.log2(length)))
  }
  let offset = 0
  for (const part of parts) {
    scratch.set(part, offset)
    offset += part.length
  }
  return sha256(scratch.subarray(0, length))
}

export function sha256(bytes: Uint8Array): Uint8Array {
  // As text and back: a buffer of its own for each hash, outside the heap, costs three times the hash.
  const text = hash('sha256', bytes, 'binary')
  const digest = new Uint8Array(32)
  for (let at = 0; at < 32; at++) digest[at] = text.charCodeAt(at)
  return digest
}
