/**
 * A sketch: the first coded symbols of a set of Merkle leaves (rateless IBLT, arXiv 2402.02668). Sketches of two sets subtract
 * into the sketch of their difference, from which `peel` reads the difference if there are about 1.4 to 1.7 symbols for each item of it,
 * whatever the size of the sets. A leaf counts as an item of key id and first 8 bytes of the leaf digest; a changed value is two
 * items, one on either side.
 *
 * On the wire a symbol is 29 bytes: the XOR of the items, the XOR of the low 32 bits of their hashes (little-endian), and their
 * number modulo 256.
 */
import { ReplicationError } from '../errors.ts'
import { ENTRY_BYTES } from '../merkle/leaf.ts'
import { type HashKey, ITEM_BYTES, ITEM_WORDS, itemHasher } from './item-hash.ts'
import { symbolWalk } from './symbol-walk.ts'

export const SYMBOL_BYTES = ITEM_BYTES + 4 + 1
/** Symbols of one sketch at most. */
export const MAX_SYMBOLS = 8192

/** Words of a symbol in memory: the XOR of the items, the XOR of their checksums, and their number. */
export const SYMBOL_WORDS = ITEM_WORDS + 2
export const CHECKSUM = ITEM_WORDS
export const COUNT = ITEM_WORDS + 1

export interface Sketch {
  /** Number of symbols. */
  readonly length: number
  /** `SYMBOL_WORDS` for each symbol. */
  readonly words: Int32Array
}

export function emptySketch(length: number): Sketch {
  return { length, words: new Int32Array(length * SYMBOL_WORDS) }
}

/** Adds packed Merkle entries. */
export function addEntries(sketch: Sketch, entries: Uint8Array, key: HashKey): void {
  const { words, length } = sketch
  const item = new Int32Array(ITEM_WORDS)
  const hasher = itemHasher(key)
  const walk = symbolWalk()
  for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
    readItem(entries, at, item)
    hasher.hash(item, 0)
    const { low, high } = hasher
    walk.start(low, high)
    for (let index = 0; index < length; index = walk.after(index)) {
      const base = index * SYMBOL_WORDS
      words[base]! ^= item[0]!
      words[base + 1]! ^= item[1]!
      words[base + 2]! ^= item[2]!
      words[base + 3]! ^= item[3]!
      words[base + 4]! ^= item[4]!
      words[base + 5]! ^= item[5]!
      words[base + CHECKSUM]! ^= low
      words[base + COUNT]!++
    }
  }
}

/** The symbols from `first` on, as they go over the wire. */
export function encodeSymbols({ words, length }: Sketch, first = 0): Uint8Array {
  const bytes = Buffer.alloc(Math.max(0, length - first) * SYMBOL_BYTES)
  let at = 0
  for (let base = first * SYMBOL_WORDS; base < words.length; base += SYMBOL_WORDS) {
    for (let word = 0; word <= CHECKSUM; word++) at = bytes.writeInt32LE(words[base + word]!, at)
    at = bytes.writeUInt8(words[base + COUNT]! & 255, at)
  }
  return bytes
}

/** Any bytes of the right length are symbols; of the counts the low 8 bits are known. Throws `REPLICATION_INVALID_MESSAGE`. */
export function decodeSymbols(bytes: Uint8Array): Sketch {
  if (bytes.length % SYMBOL_BYTES !== 0 || bytes.length > MAX_SYMBOLS * SYMBOL_BYTES) {
    throw new ReplicationError('REPLICATION_INVALID_MESSAGE', 'not a valid sketch')
  }
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const sketch = emptySketch(bytes.length / SYMBOL_BYTES)
  let at = 0
  for (let base = 0; base < sketch.words.length; base += SYMBOL_WORDS) {
    for (let word = 0; word <= CHECKSUM; word++, at += 4) sketch.words[base + word] = source.readInt32LE(at)
    sketch.words[base + COUNT] = source[at++]!
  }
  return sketch
}

/** `theirs` minus `ours`, of equal length: counts of items that only `theirs` has are positive, taken modulo 256 within -128 to 127. */
export function subtract(theirs: Sketch, ours: Sketch): Sketch {
  const words = theirs.words.slice()
  for (let at = 0; at < words.length; at++) {
    if (at % SYMBOL_WORDS === COUNT) words[at] = signed8(words[at]! - ours.words[at]!)
    else words[at]! ^= ours.words[at]!
  }
  return { length: theirs.length, words }
}

export function signed8(value: number): number {
  return (value << 24) >> 24
}

function readItem(bytes: Uint8Array, start: number, item: Int32Array): void {
  for (let word = 0, at = start; word < ITEM_WORDS; word++, at += 4) {
    item[word] = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
  }
}
