/**
 * HalfSipHash-2-4 with 64 bits of output (https://github.com/veorq/SipHash) over the 24 bytes of a sketch item. Made for 32-bit
 * words, which is what JavaScript computes with. The key changes with every round and depends on ciphertexts, so who chooses keys or values
 * cannot choose hashes.
 */
import { sha256Parts } from '../sha256.ts'
import type { Cursor } from '../types.ts'

/** Words of an item: 16 bytes of key id and the first 8 of the leaf digest, little-endian. */
export const ITEM_WORDS = 6
export const ITEM_BYTES = 24

export interface HashKey {
  readonly k0: number
  readonly k1: number
}

const LABEL = new TextEncoder().encode('lockstep sketch key v1\n')

/** The key of one diff round, which both ends know. */
export function hashKeyOf(round: number, from: Cursor): HashKey {
  const number = Buffer.alloc(8)
  number.writeBigUInt64BE(BigInt(round))
  const bytes = Buffer.from(sha256Parts(LABEL, number, from.digest))
  return { k0: bytes.readInt32LE(0), k1: bytes.readInt32LE(4) }
}

export interface ItemHasher {
  /** Hashes the six words from `at` on; read the result from `low` and `high`, as signed 32-bit numbers. */
  hash(words: Int32Array, at: number): void
  low: number
  high: number
}

export function itemHasher({ k0, k1 }: HashKey): ItemHasher {
  const hasher: ItemHasher = {
    low: 0,
    high: 0,
    hash(words, at) {
      let v0 = k0
      let v1 = k1 ^ 0xee
      let v2 = 0x6c796765 ^ k0
      let v3 = 0x74656462 ^ k1
      // Blocks: the words, the length (which is all that is left for the last one), and two without input that finish the two halves.
      for (let block = 0; block <= ITEM_WORDS + 2; block++) {
        const input = block < ITEM_WORDS ? words[at + block]! : block === ITEM_WORDS ? ITEM_BYTES << 24 : 0
        if (block === ITEM_WORDS + 1) v2 ^= 0xee
        if (block === ITEM_WORDS + 2) {
          hasher.low = v1 ^ v3
          v1 ^= 0xdd
        }
        v3 ^= input
        for (let rounds = block > ITEM_WORDS ? 4 : 2; rounds > 0; rounds--) {
          v0 = (v0 + v1) | 0
          v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
          v0 = (v0 << 16) | (v0 >>> 16)
          v2 = (v2 + v3) | 0
          v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
          v0 = (v0 + v3) | 0
          v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
          v2 = (v2 + v1) | 0
          v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
          v2 = (v2 << 16) | (v2 >>> 16)
        }
        v0 ^= input
      }
      hasher.high = v1 ^ v3
    },
  }
  return hasher
}
