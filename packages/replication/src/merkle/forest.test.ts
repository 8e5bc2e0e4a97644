import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MerkleForest, merkleForest } from './forest.ts'
import { ENTRY_BYTES, HEX_DIGITS, KEY_ID_BYTES, keyIdOf, LEAF_DIGEST_BYTES, leafDigestOf } from './leaf.ts'
import { BUCKET_ENTRIES, EMPTY_HASH } from './trie.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const P = 'replicated/m'
const all = () => true

/** Ids share long prefixes now and then, so that trees grow deep with few entries. */
const keyId = fc
  .tuple(fc.constantFrom(0, 3, 8, 15), fc.uint8Array({ minLength: KEY_ID_BYTES, maxLength: KEY_ID_BYTES }))
  .map(([shared, bytes]) => {
    const id = Uint8Array.from(bytes)
    id.fill(0xab, 0, shared)
    return id
  })
const digest = fc.uint8Array({ minLength: LEAF_DIGEST_BYTES, maxLength: LEAF_DIGEST_BYTES })
const entries = fc.uniqueArray(fc.record({ keyId, digest }), {
  maxLength: 5 * BUCKET_ENTRIES,
  selector: (entry) => hex(entry.keyId),
  size: 'max',
})

function filled(items: readonly { keyId: Uint8Array; digest: Uint8Array }[], partition = P): MerkleForest {
  const forest = merkleForest()
  for (const { keyId, digest } of items) forest.set(partition, keyId, digest)
  return forest
}

describe('canonical form', () => {
  test('the root depends on the set alone, not on the operations that made it', () => {
    fc.assert(
      fc.property(entries, entries, fc.infiniteStream(fc.nat()), (items, others, random) => {
        const expected = filled(items)
        const kept = new Set(items.map((item) => hex(item.keyId)))
        const passing = others.filter((item) => !kept.has(hex(item.keyId)))
        const forest = merkleForest()
        const steps = [
          ...passing.map((item) => () => forest.set(P, item.keyId, item.digest)),
          ...items.map((item) => () => forest.set(P, item.keyId, new Uint8Array(LEAF_DIGEST_BYTES))),
        ]
        shuffle(steps, random)
        for (const [at, step] of steps.entries()) {
          step()
          // Hashes computed on the way must not survive what makes them stale.
          if (at % 17 === 0) forest.root(P)
        }
        const rest = [
          ...passing.map((item) => () => forest.remove(P, item.keyId)),
          ...items.map((item) => () => forest.set(P, item.keyId, item.digest)),
        ]
        shuffle(rest, random)
        for (const step of rest) step()
        expect(hex(forest.root(P))).toBe(hex(expected.root(P)))
        expect(hex(forest.root(P))).toBe(modelHash(items, 0))
        expect(forest.count(P)).toBe(items.length)
        expect(hex(forest.entriesUnder(P, ''))).toBe(hex(expected.entriesUnder(P, '')))
        expect(forest.partitions()).toEqual(items.length > 0 ? [P] : [])
      }),
      { numRuns: process.env.SLOW ? 2000 : 40 },
    )
  })

  test('any change changes the root, and undoing it restores it', () => {
    fc.assert(
      fc.property(entries, keyId, digest, digest, (items, id, one, two) => {
        fc.pre(hex(one) !== hex(two))
        const forest = filled(items.filter((item) => hex(item.keyId) !== hex(id)))
        const without = hex(forest.root(P))
        forest.set(P, id, one)
        const first = hex(forest.root(P))
        forest.set(P, id, two)
        const second = hex(forest.root(P))
        expect(new Set([without, first, second]).size).toBe(3)
        forest.set(P, id, one)
        expect(hex(forest.root(P))).toBe(first)
        expect(forest.remove(P, id)).toBe(true)
        expect(forest.remove(P, id)).toBe(false)
        expect(hex(forest.root(P))).toBe(without)
      }),
      { numRuns: process.env.SLOW ? 2000 : 40 },
    )
  })

  test('a subtree hashes like the set below it, wherever the tree has its nodes', () => {
    fc.assert(
      fc.property(entries, keyId, fc.integer({ min: 0, max: 6 }), (items, id, depth) => {
        const path = hex(items[0]?.keyId ?? id).slice(0, depth)
        const below = items.filter((item) => hex(item.keyId).startsWith(path))
        const forest = filled(items)
        expect(forest.count(P, path)).toBe(below.length)
        // A tree that holds nothing else has its root at depth 0, but below `path` the same content.
        expect(hex(forest.hashAt(P, path))).toBe(hex(filled(below).hashAt(P, path)))
        const node = forest.node(P, path)
        if (below.length === 0) expect(node.kind).toBe('empty')
        else expect(node.kind).toBe(below.length > BUCKET_ENTRIES ? 'inner' : 'bucket')
        if (node.kind !== 'inner') return
        const children = [...HEX_DIGITS].map((digit) => hex(forest.hashAt(P, path + digit))).join('')
        expect(hex(node.children)).toBe(children)
      }),
      { numRuns: process.env.SLOW ? 2000 : 40 },
    )
  })
})

test('known roots: changing the form of the tree is a change of protocol', () => {
  const forest = merkleForest()
  for (let n = 0; n < 1000; n++) forest.set(P, keyIdOf(`key ${n}`), leafDigestOf(`key ${n}`, Buffer.from(`value ${n}`)))
  forest.set('local/core', keyIdOf('one'), leafDigestOf('one', Buffer.from('v')))
  expect({
    keyId: hex(keyIdOf('key 0')),
    leaf: hex(leafDigestOf('key 0', Buffer.from('value 0'))),
    bucket: hex(forest.root('local/core')),
    tree: hex(forest.root(P)),
    composed: hex(forest.composedRoot(all)),
    nothing: hex(merkleForest().composedRoot(all)),
  }).toMatchInlineSnapshot(`
    {
      "bucket": "95827920c91d1c562375f8aa5ae9542730c76887c2dc6e84325fad9ff646b2f6",
      "composed": "889c39715f4f54fd7e4164fc6e4a5d63a3f182a72f5184cdef6d8b70f7ddbb89",
      "keyId": "617f5964af07c46b6015aed97679e0a6",
      "leaf": "91d8bb686044f1c8986edaeba0ef93d401c29d5c65e1b3b2ef8729deecdc0578",
      "nothing": "8e2fe935ba6bd357230d156416f54a2b3fcd9c8c50846bea0c3181f136b0cb35",
      "tree": "f700a0aab7c2fe9a22bc6d00cc3dea862655d882bd272dc30eb54c402d747283",
    }
  `)
})

test('composed roots count exactly the partitions that are included and not empty', () => {
  const one = { keyId: keyIdOf('a'), digest: leafDigestOf('a', Buffer.from('1')) }
  const forest = filled([one])
  const alone = hex(forest.composedRoot(all))
  forest.set('local/x', one.keyId, one.digest)
  expect(hex(forest.composedRoot((id) => id === P))).toBe(alone)
  expect(hex(forest.composedRoot(all))).not.toBe(alone)
  // The same tree under another name is something else.
  expect(hex(forest.composedRoot((id) => id === 'local/x'))).not.toBe(alone)
  forest.remove('local/x', one.keyId)
  expect(hex(forest.composedRoot(all))).toBe(alone)
  expect(forest.partitions()).toEqual([P])
})

test('entries come in order, in pages, from anywhere', () => {
  const items = Array.from({ length: 1000 }, (_, n) => ({ keyId: keyIdOf(`${n}`), digest: new Uint8Array(32).fill(n) }))
  const forest = filled(items)
  const sorted = items.map((item) => hex(item.keyId)).sort()
  for (const path of ['', '7', 'a1']) {
    const expected = sorted.filter((id) => id.startsWith(path))
    const found: string[] = []
    let after: Uint8Array | undefined
    for (;;) {
      const page = forest.entriesUnder(P, path, { after, limit: 37 })
      if (page.length === 0) break
      expect(page.length).toBeLessThanOrEqual(37 * ENTRY_BYTES)
      for (let at = 0; at < page.length; at += ENTRY_BYTES) found.push(hex(page.subarray(at, at + KEY_ID_BYTES)))
      after = page.slice(page.length - ENTRY_BYTES, page.length - LEAF_DIGEST_BYTES)
    }
    expect(found).toEqual(expected)
  }
  expect(forest.entriesUnder(P, '', { after: new Uint8Array(16).fill(255) })).toHaveLength(0)
})

test('what is handed out stays as it is, and what was handed in may change', () => {
  const forest = merkleForest()
  const id = keyIdOf('a')
  const leaf = new Uint8Array(LEAF_DIGEST_BYTES).fill(1)
  forest.set(P, id, leaf)
  const root = forest.root(P)
  const copy = hex(root)
  leaf.fill(9)
  id.fill(9)
  expect(hex(forest.get(P, keyIdOf('a'))!)).toBe('01'.repeat(LEAF_DIGEST_BYTES))
  forest.set(P, keyIdOf('b'), leaf)
  forest.root(P)
  expect(hex(root)).toBe(copy)
})

test('drop empties a partition; versions tell of every change', () => {
  const forest = filled([{ keyId: keyIdOf('a'), digest: new Uint8Array(32) }])
  const { version } = forest
  expect(forest.remove(P, keyIdOf('b'))).toBe(false)
  expect(forest.version).toBe(version)
  forest.drop(P)
  expect(forest.version).toBeGreaterThan(version)
  expect(forest.root(P)).toEqual(EMPTY_HASH)
  expect(forest.node(P, '')).toEqual({ kind: 'empty' })
  expect(forest.get(P, keyIdOf('a'))).toBeUndefined()
})

test('refuses ids, digests and paths of the wrong form', () => {
  const forest = merkleForest()
  const code = { code: 'REPLICATION_INVALID_ARGUMENT' }
  expect(() => forest.set(P, new Uint8Array(15), new Uint8Array(32))).toThrow(expect.objectContaining(code))
  expect(() => forest.set(P, new Uint8Array(16), new Uint8Array(31))).toThrow(expect.objectContaining(code))
  expect(() => forest.node(P, 'G')).toThrow(expect.objectContaining(code))
  expect(() => forest.hashAt(P, 'a'.repeat(33))).toThrow(expect.objectContaining(code))
})

/** The definition of the tree, without a tree. */
function modelHash(items: readonly { keyId: Uint8Array; digest: Uint8Array }[], depth: number): string {
  if (items.length === 0) return '00'.repeat(32)
  const hash = createHash('sha256')
  if (items.length <= BUCKET_ENTRIES) {
    const packed = items.map(({ keyId, digest }) => hex(keyId) + hex(digest)).sort()
    return hash.update('lockstep bucket v1\n').update(packed.join(''), 'hex').digest('hex')
  }
  hash.update('lockstep inner v1\n')
  for (const digit of HEX_DIGITS) {
    const child = items.filter(({ keyId }) => hex(keyId)[depth] === digit)
    hash.update(modelHash(child, depth + 1), 'hex')
  }
  return hash.digest('hex')
}

function shuffle<T>(items: T[], random: fc.Stream<number>): void {
  for (let at = items.length - 1; at > 0; at--) {
    const other = random.next().value % (at + 1)
    ;[items[at], items[other]] = [items[other]!, items[at]!]
  }
}
