/**
 * Which coded symbols an item is part of: symbol 0 always, symbol i with a probability of about 1 / (1 + i / 2), so that any number of symbols
 * from the first on can be decoded (Yang, Gilad, Alizadeh: Practical Rateless Set Reconciliation, arXiv 2402.02668, section 4).
 */

/** Probability that an item is part of the symbol at `index`, within 0.03: steps are rounded up. */
export function symbolDensity(index: number): number {
  return 1 / (1 + index / 2)
}

export interface SymbolWalk {
  /** Starts at symbol 0 of the item with this hash. */
  start(low: number, high: number): void
  /** The symbol after the one at `index`. */
  after(index: number): number
}

export function symbolWalk(): SymbolWalk {
  let s0 = 0
  let s1 = 0
  return {
    start(low, high) {
      s0 = low
      s1 = high
      if ((low | high) === 0) s0 = 1 // the generator's one fixed point
    },
    after(index) {
      // xoroshiro64* (Blackman and Vigna): 64 bits of state in 32-bit words.
      const random = Math.imul(s0, 0x9e3779bb) >>> 0
      s1 ^= s0
      s0 = ((s0 << 26) | (s0 >>> 6)) ^ s1 ^ (s1 << 9)
      s1 = (s1 << 13) | (s1 >>> 19)
      const step = Math.ceil((index + 1.5) * (65_536 / Math.sqrt(random + 1) - 1))
      return index + Math.max(step, 1)
    },
  }
}
