import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ReplicationError } from '../errors.ts'
import { sha256 } from '../sha256.ts'
import { hashKeyOf, itemHasher } from './item-hash.ts'
import { type Difference, estimateDifference, peel, type SketchItem } from './peel.ts'
import { addEntries, decodeSymbols, emptySketch, encodeSymbols, MAX_SYMBOLS, SYMBOL_BYTES, subtract } from './sketch.ts'
import { moreSymbols, symbolsFor } from './symbol-count.ts'
import { symbolDensity, symbolWalk } from './symbol-walk.ts'

const runs = { numRuns: process.env.SLOW ? 2000 : 100 }
const key = hashKeyOf(3, { epoch: 1, index: 5, digest: new Uint8Array(32).fill(9) })
const otherKey = hashKeyOf(4, { epoch: 1, index: 5, digest: new Uint8Array(32).fill(9) })

/** The key id depends on seed and number, the leaf digest on the version too. */
function entry(seed: number, n: number, version = 0): Buffer {
  const text = (value: string) => new TextEncoder().encode(value)
  const keyId = sha256(text(`key ${seed} ${n}`)).subarray(0, 16)
  return Buffer.concat([keyId, sha256(text(`leaf ${seed} ${n} ${version}`))])
}

function sketchOf(entries: readonly Uint8Array[], length: number, hashKey = key) {
  const sketch = emptySketch(length)
  addEntries(sketch, Buffer.concat(entries), hashKey)
  return sketch
}

/** As between two ends: one of the sketches went over the wire. */
function difference(theirs: readonly Uint8Array[], ours: readonly Uint8Array[], length: number) {
  return subtract(decodeSymbols(encodeSymbols(sketchOf(theirs, length))), sketchOf(ours, length))
}

const names = (items: readonly SketchItem[]) =>
  items.map(({ keyId, digest }) => Buffer.concat([keyId, digest]).toString('hex')).sort()
const expected = (entries: readonly Uint8Array[]) =>
  entries.map((each) => Buffer.from(each.subarray(0, 24)).toString('hex')).sort()

function expectDifference(found: Difference | undefined, theirs: Uint8Array[], ours: Uint8Array[]) {
  expect(found).toBeDefined()
  expect(names(found!.theirs)).toEqual(expected(theirs))
  expect(names(found!.ours)).toEqual(expected(ours))
}

test('the hash is HalfSipHash-2-4 with 64 bits of output', () => {
  // Vector 24 of vectors_hsip64 in github.com/veorq/SipHash: key 00..07, input 00..17.
  const count = (length: number) => Buffer.from(Array.from({ length }, (_, n) => n))
  const hasher = itemHasher({ k0: count(8).readInt32LE(0), k1: count(8).readInt32LE(4) })
  const input = count(24)
  hasher.hash(
    Int32Array.from({ length: 6 }, (_, word) => input.readInt32LE(word * 4)),
    0,
  )
  const output = Buffer.alloc(8)
  output.writeInt32LE(hasher.low, 0)
  output.writeInt32LE(hasher.high, 4)
  expect(output.toString('hex')).toBe('70741045ae3fa6f1')
})

test('known bytes: changing them is a change of protocol', () => {
  const symbols = encodeSymbols(sketchOf([entry(1, 1), entry(1, 2), entry(1, 3)], 4))
  expect(Buffer.from(symbols).toString('hex')).toMatchInlineSnapshot(
    `"835031aca102dae82f1e036669e9f9427bf0070a2cfb48c20012859e036c6aa8e0e0eb84051885ba98a7a8c4a3c0d6bec2990aa70382041ea802ef3a994c41e95eed379bb9fece413de1bb26b9c8b5f1efc182169b36010000000000000000000000000000000000000000000000000000000000"`,
  )
})

test('an item is part of symbol i with a probability of about 1 / (1 + i / 2)', () => {
  const items = 20_000
  const hits = new Uint32Array(65)
  const walk = symbolWalk()
  const hasher = itemHasher(key)
  const words = new Int32Array(6)
  for (let n = 0; n < items; n++) {
    words[0] = n
    hasher.hash(words, 0)
    walk.start(hasher.low, hasher.high)
    for (let index = 0; index < hits.length; index = walk.after(index)) hits[index]!++
  }
  expect(hits[0]).toBe(items)
  for (const index of [1, 2, 3, 5, 8, 16, 32, 64]) {
    const share = hits[index]! / items
    expect(Math.abs(share - symbolDensity(index)), `symbol ${index}`).toBeLessThan(0.03)
  }
})

describe('what a sketch tells', () => {
  const set = fc.uniqueArray(fc.nat(5000), { maxLength: 300 })

  test('the difference of any two sets, given enough symbols', () => {
    fc.assert(
      fc.property(fc.nat(1e6), set, set, set, (seed, both, mine, yours) => {
        const shared = both.map((n) => entry(seed, n, 1))
        const theirs = yours.map((n) => entry(seed + 1, n, 2))
        const ours = mine.map((n) => entry(seed + 2, n, 3))
        const length = Math.min(MAX_SYMBOLS, 40 + 4 * (theirs.length + ours.length))
        expectDifference(peel(difference([...shared, ...theirs], [...shared, ...ours], length), key), theirs, ours)
      }),
      runs,
    )
  })

  test('changed values: the same key id on both sides', () => {
    fc.assert(
      fc.property(fc.nat(1e6), set, (seed, changed) => {
        const theirs = changed.map((n) => entry(seed, n, 1))
        const ours = changed.map((n) => entry(seed, n, 2))
        const found = peel(difference(theirs, ours, 40 + 8 * changed.length), key)
        expectDifference(found, theirs, ours)
        const keyIds = (items: readonly SketchItem[]) => items.map(({ keyId }) => keyId.toString()).sort()
        expect(keyIds(found!.theirs)).toEqual(keyIds(found!.ours))
      }),
      runs,
    )
  })

  test('nothing, when the sets are equal or empty, with a single symbol', () => {
    const entries = Array.from({ length: 5000 }, (_, n) => entry(1, n))
    expectDifference(peel(difference(entries, entries, 1), key), [], [])
    expectDifference(peel(difference([], [], 1), key), [], [])
    expect(peel(difference([], [], 0), key)).toBeUndefined()
  })

  test('everything, when the sets have nothing in common', () => {
    const theirs = Array.from({ length: 700 }, (_, n) => entry(1, n))
    const ours = Array.from({ length: 900 }, (_, n) => entry(2, n))
    expectDifference(peel(difference(theirs, ours, 2600), key), theirs, ours)
    expectDifference(peel(difference(theirs, [], 1200), key), theirs, [])
  })

  test('counts past 128 and 256 do not matter: what is in both comes off', () => {
    const shared = Array.from({ length: 1000 }, (_, n) => entry(3, n))
    const theirs = [entry(4, 1)]
    expectDifference(peel(difference([...shared, ...theirs], shared, 8), key), theirs, [])
  })

  test('an entry twice on one side is no difference that can be read, and nothing worse', () => {
    const twice = [entry(5, 1), entry(5, 1)]
    // Two of the same cancel out but for their number.
    expect(peel(difference(twice, [], 16), key)).toBeUndefined()
    expect(peel(difference([...twice, entry(5, 2)], [entry(5, 1)], 16), key)).toBeDefined()
  })

  test('nothing, when the keys of the two ends differ', () => {
    const theirs = Array.from({ length: 50 }, (_, n) => entry(1, n))
    expect(peel(subtract(sketchOf(theirs, 200), sketchOf(theirs, 200, otherKey)), key)).toBeUndefined()
  })

  test('fewer symbols than items are never enough', () => {
    const theirs = Array.from({ length: 100 }, (_, n) => entry(6, n))
    for (const length of [0, 1, 10, 50, 99]) expect(peel(difference(theirs, [], length), key)).toBeUndefined()
  })

  test('symbols are a prefix: asking for more continues what came before', () => {
    const theirs = Array.from({ length: 60 }, (_, n) => entry(7, n))
    const all = encodeSymbols(sketchOf(theirs, 120))
    const first = encodeSymbols(sketchOf(theirs, 40))
    const rest = encodeSymbols(sketchOf(theirs, 120), 40)
    expect(Buffer.compare(Buffer.concat([first, rest]), all)).toBe(0)
  })
})

test('1.35 to 1.72 symbols for each item are enough on average', () => {
  for (const [items, trials] of [
    [4, 300],
    [16, 300],
    [64, 100],
    [256, 40],
    [1024, 12],
  ] as const) {
    let symbols = 0
    for (let trial = 0; trial < trials; trial++) {
      const theirs = Array.from({ length: items }, (_, n) => entry(100 + trial, n))
      const full = sketchOf(theirs, items * 6)
      let low = items
      let high = items * 6
      while (low < high) {
        const middle = (low + high) >> 1
        const enough = peel({ length: middle, words: full.words.slice(0, middle * 8) }, key) !== undefined
        if (enough) high = middle
        else low = middle + 1
      }
      symbols += low
    }
    const overhead = symbols / trials / items
    expect(overhead, `${items} items`).toBeGreaterThan(1.25)
    expect(overhead, `${items} items`).toBeLessThan(1.9)
    // What the diff asks for first is enough more often than not, and not much more than that.
    expect(symbolsFor(items)).toBeGreaterThan(overhead * items)
    expect(symbolsFor(items)).toBeLessThan(overhead * items * 1.5 + 4)
  }
})

test('the size of a difference can be told from far too few symbols', () => {
  for (const [mine, yours] of [
    [500, 500],
    [2000, 2000],
    [100, 1500],
    [1200, 0],
  ] as const) {
    const estimates: number[] = []
    for (let trial = 0; trial < 30; trial++) {
      const ours = Array.from({ length: mine }, (_, n) => entry(trial * 2, n))
      const theirs = Array.from({ length: yours }, (_, n) => entry(trial * 2 + 1, n))
      estimates.push(estimateDifference(difference(theirs, ours, 48), yours - mine))
    }
    const mean = estimates.reduce((sum, each) => sum + each) / estimates.length
    expect(mean / (mine + yours)).toBeGreaterThan(0.75)
    expect(mean / (mine + yours)).toBeLessThan(1.3)
    expect(Math.min(...estimates)).toBeGreaterThanOrEqual(Math.abs(yours - mine))
  }
})

test('each try asks for more than the one before', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: MAX_SYMBOLS }),
      fc.double({ min: 0, max: 1e9, noNaN: true }),
      (had, items) => {
        expect(moreSymbols(had, items)).toBeGreaterThan(had)
      },
    ),
  )
})

describe('bytes of a stranger', () => {
  test('of a length that cannot be are refused', () => {
    for (const length of [1, SYMBOL_BYTES - 1, SYMBOL_BYTES + 1, SYMBOL_BYTES * (MAX_SYMBOLS + 1)]) {
      expect(() => decodeSymbols(new Uint8Array(length))).toThrow(ReplicationError)
      expect(() => decodeSymbols(new Uint8Array(length))).toThrow(
        expect.objectContaining({ code: 'REPLICATION_INVALID_MESSAGE' }),
      )
    }
  })

  test('of any other are read in bounded time, take out no more items than symbols, and throw nothing', () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: SYMBOL_BYTES * 60 }),
      // Small alphabets make repeated symbols, and counts of 1 and -1, likely.
      fc.array(fc.constantFrom(0, 1, 255), { maxLength: SYMBOL_BYTES * 60 }).map((bytes) => Uint8Array.from(bytes)),
    )
    fc.assert(
      fc.property(garbage, fc.nat(40), (bytes, held) => {
        const whole = bytes.subarray(0, bytes.length - (bytes.length % SYMBOL_BYTES))
        const theirs = decodeSymbols(whole)
        const ours = sketchOf(
          Array.from({ length: held }, (_, n) => entry(8, n)),
          theirs.length,
        )
        const found = peel(subtract(theirs, ours), key)
        if (found) expect(found.theirs.length + found.ours.length).toBeLessThanOrEqual(theirs.length)
        expect(Number.isFinite(estimateDifference(subtract(theirs, ours), 5))).toBe(true)
      }),
      { numRuns: process.env.SLOW ? 20_000 : 500 },
    )
  })

  test('made of true symbols, with one changed, dropped or moved, are no other difference', () => {
    fc.assert(
      fc.property(
        fc.nat(1e6),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (seed, items, at, flip) => {
          const theirs = Array.from({ length: items }, (_, n) => entry(seed, n))
          const bytes = Buffer.from(encodeSymbols(sketchOf(theirs, 20 + 3 * items)))
          bytes[at % bytes.length]! ^= flip
          expect(peel(decodeSymbols(bytes), key)).toBeUndefined()
          bytes[at % bytes.length]! ^= flip
          const moved = Buffer.concat([bytes.subarray(SYMBOL_BYTES), bytes.subarray(0, SYMBOL_BYTES)])
          expect(peel(decodeSymbols(moved), key)).toBeUndefined()
        },
      ),
      runs,
    )
  })

  test('that make one item come out again and again come to an end', () => {
    // Every symbol claims to hold the same single item: taking it out of one puts its negative into others.
    const words = sketchOf([entry(9, 9)], 1).words
    const symbols = emptySketch(4096)
    for (let index = 0; index < symbols.length; index++) symbols.words.set(words, index * 8)
    expect(peel(symbols, key)).toBeUndefined()
  })
})
