/** A seeded source of chance (sfc32). One per simulation: every choice is drawn from it in the order of events. */
export interface Random {
  /** From 0 up to, not including, 1. */
  float(): number
  /** From 0 up to, not including, `limit`. */
  below(limit: number): number
  /** Between the two, both included. */
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  bytes(length: number): Uint8Array
}

export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9
  let b = 0x243f6a88
  let c = seed | 0
  let d = 1 + Math.floor(seed / 2 ** 32)
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return t >>> 0
  }
  // The first numbers of neighbouring seeds are alike.
  for (let n = 0; n < 12; n++) next()
  const random: Random = {
    float: () => next() / 2 ** 32,
    below: (limit) => Math.floor((next() / 2 ** 32) * limit),
    between: (low, high) => low + random.below(high - low + 1),
    chance: (probability) => next() / 2 ** 32 < probability,
    pick: (items) => items[random.below(items.length)]!,
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
  }
  return random
}
