import { KEY_ID_BYTES } from '../merkle/leaf.ts'
import { type HashKey, ITEM_BYTES, ITEM_WORDS, itemHasher } from './item-hash.ts'
import { CHECKSUM, COUNT, type Sketch, SYMBOL_WORDS, signed8 } from './sketch.ts'
import { symbolDensity, symbolWalk } from './symbol-walk.ts'

/** An item of the difference of two sets of Merkle leaves. */
export interface SketchItem {
  keyId: Uint8Array
  /** First 8 bytes of the leaf digest. */
  digest: Uint8Array
}

export interface Difference {
  /** Items that only the minuend has. */
  theirs: SketchItem[]
  /** Items that only the subtrahend has. */
  ours: SketchItem[]
}

/**
 * Reads the difference from a subtracted sketch, which is used up. Undefined when there are too few symbols for it, or when they are no
 * sketch at all. Time and memory are bounded by the number of symbols, whatever they hold: no more items than symbols are taken out.
 */
export function peel({ words, length }: Sketch, key: HashKey): Difference | undefined {
  const hasher = itemHasher(key)
  const walk = symbolWalk()
  const item = new Int32Array(ITEM_WORDS)
  const difference: Difference = { theirs: [], ours: [] }
  let left = length
  const waiting = Array.from({ length }, (_, index) => index)
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
    const start = index * SYMBOL_WORDS
    const sign = words[start + COUNT]!
    if (sign !== 1 && sign !== -1) continue
    hasher.hash(words, start)
    const { low, high } = hasher
    if (low !== words[start + CHECKSUM]) continue
    if (--left < 0) return undefined
    item.set(words.subarray(start, start + ITEM_WORDS))
    difference[sign === 1 ? 'theirs' : 'ours'].push(sketchItem(item))
    walk.start(low, high)
    for (let at = 0; at < length; at = walk.after(at)) {
      const base = at * SYMBOL_WORDS
      for (let word = 0; word < ITEM_WORDS; word++) words[base + word]! ^= item[word]!
      words[base + CHECKSUM]! ^= low
      const count = signed8(words[base + COUNT]! - sign)
      words[base + COUNT] = count
      if (count === 1 || count === -1) waiting.push(at)
    }
  }
  return length > 0 && words.every((word) => word === 0) ? difference : undefined
}

/**
 * About how many items a subtracted sketch holds, also one with far too few symbols to be read. `net` is how many more items the
 * minuend has. The count of symbol i is a sum of +1 and -1 over the items that are part of it, each with probability p, so
 * its expectation is p net and its variance p (1 - p) times what is wanted.
 */
export function estimateDifference({ words, length }: Sketch, net: number): number {
  let squares = 0
  let weights = 0
  for (let index = 1; index < length; index++) {
    const density = symbolDensity(index)
    const expected = Math.round(density * net)
    // Counts are known modulo 256 only: the one nearest to the expected is meant.
    const count = expected + signed8(words[index * SYMBOL_WORDS + COUNT]! - expected)
    squares += (count - density * net) ** 2
    weights += density * (1 - density)
  }
  return Math.max(Math.abs(net), weights > 0 ? squares / weights : 0)
}

function sketchItem(words: Int32Array): SketchItem {
  const bytes = Buffer.allocUnsafe(ITEM_BYTES)
  for (let word = 0; word < ITEM_WORDS; word++) bytes.writeInt32LE(words[word]!, word * 4)
  return { keyId: bytes.subarray(0, KEY_ID_BYTES), digest: bytes.subarray(KEY_ID_BYTES) }
}
