/**
 * The forest against a Map of Maps, by commands in any order: every answer is what the Map gives, and the root of a partition is that
 * of a forest made anew from the Map.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type MerkleForest, merkleForest } from './forest.ts'
import { ENTRY_BYTES, KEY_ID_BYTES, type TreePath } from './leaf.ts'

type Model = Map<string, Map<string, string>>

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
const NAMES = ['local/a', 'replicated/a', 'replicated/b']

function leaves(model: Model, partition: string, path: TreePath): [string, string][] {
  return [...(model.get(partition) ?? [])].filter(([id]) => id.startsWith(path)).sort(([a], [b]) => (a < b ? -1 : 1))
}

function unpack(packed: Uint8Array): [string, string][] {
  const found: [string, string][] = []
  for (let at = 0; at < packed.length; at += ENTRY_BYTES) {
    const entry = hex(packed.subarray(at, at + ENTRY_BYTES))
    found.push([entry.slice(0, KEY_ID_BYTES * 2), entry.slice(KEY_ID_BYTES * 2)])
  }
  return found
}

function forestOf(model: Model): MerkleForest {
  const forest = merkleForest()
  for (const [partition, entries] of model) {
    for (const [id, digest] of entries) forest.set(partition, bytes(id), bytes(digest))
  }
  return forest
}

type Command = fc.Command<Model, MerkleForest>

/** A command that reads or changes both, and compares. */
function command(name: string, run: (model: Model, forest: MerkleForest) => void): Command {
  return { check: () => true, run, toString: () => name }
}

const put = (model: Model, partition: string, id: string, digest: string) => {
  model.set(partition, (model.get(partition) ?? new Map()).set(id, digest))
}
const take = (model: Model, partition: string, id: string): boolean => {
  const entries = model.get(partition)
  const had = entries?.delete(id) ?? false
  if (entries?.size === 0) model.delete(partition)
  return had
}

const partition = fc.constantFrom(...NAMES)
// Few first nibbles and few last bytes: deep subtrees, shared paths, and many ids that come up again.
const id = fc
  .tuple(fc.constantFrom('00', '01', '0f', '10', 'ff'), fc.constantFrom('00', '07', 'a0'), fc.nat(60))
  .map(([first, second, last]) => first + second + '00'.repeat(KEY_ID_BYTES - 3) + last.toString(16).padStart(2, '0'))
const digest = fc.nat(3).map((n) => n.toString(16).padStart(2, '0').repeat(32))
const path = fc.tuple(id, fc.constantFrom(0, 1, 2, 3, 4, 28, 31, 32)).map(([each, length]) => each.slice(0, length))

const commands = [
  fc.tuple(partition, id, digest).map(([name, each, leaf]) =>
    command(`set ${name} ${each}`, (model, forest) => {
      const before = forest.version
      put(model, name, each, leaf)
      forest.set(name, bytes(each), bytes(leaf))
      expect(forest.version).toBeGreaterThan(before)
    }),
  ),
  // Enough at once to split buckets.
  fc.tuple(partition, fc.uniqueArray(id, { minLength: 30, maxLength: 150 }), digest).map(([name, ids, leaf]) =>
    command(`set ${ids.length} in ${name}`, (model, forest) => {
      for (const each of ids) {
        put(model, name, each, leaf)
        forest.set(name, bytes(each), bytes(leaf))
      }
    }),
  ),
  fc.tuple(partition, id).map(([name, each]) =>
    command(`remove ${name} ${each}`, (model, forest) => {
      expect(forest.remove(name, bytes(each))).toBe(take(model, name, each))
    }),
  ),
  // Enough at once to merge them again.
  fc.tuple(partition, path).map(([name, under]) =>
    command(`remove all under ${name} ${under}`, (model, forest) => {
      for (const [each] of leaves(model, name, under)) {
        take(model, name, each)
        expect(forest.remove(name, bytes(each))).toBe(true)
      }
    }),
  ),
  partition.map((name) =>
    command(`drop ${name}`, (model, forest) => {
      model.delete(name)
      forest.drop(name)
    }),
  ),
  fc.tuple(partition, id).map(([name, each]) =>
    command(`get ${name} ${each}`, (model, forest) => {
      const found = forest.get(name, bytes(each))
      expect(found && hex(found)).toBe(model.get(name)?.get(each))
    }),
  ),
  fc.tuple(partition, path, fc.option(id), fc.nat(80)).map(([name, under, after, limit]) =>
    command(`entries under ${name} ${under}`, (model, forest) => {
      const expected = leaves(model, name, under).filter(([each]) => after === null || each > after)
      const options = { after: after === null ? undefined : bytes(after), limit }
      expect(unpack(forest.entriesUnder(name, under, options))).toEqual(expected.slice(0, limit))
      expect(forest.count(name, under)).toBe(leaves(model, name, under).length)
    }),
  ),
  fc.tuple(partition, path).map(([name, under]) =>
    command(`node ${name} ${under}`, (model, forest) => {
      const expected = leaves(model, name, under)
      const node = forest.node(name, under)
      if (node.kind === 'bucket') {
        expect(unpack(node.entries)).toEqual(expected)
        expect(expected.length).toBeLessThanOrEqual(64)
      } else if (node.kind === 'inner') {
        expect(node.count).toBe(expected.length)
        expect(expected.length).toBeGreaterThan(64)
        for (let nibble = 0; nibble < 16; nibble++) {
          const child = forest.hashAt(name, under + nibble.toString(16))
          expect(hex(node.children.subarray(nibble * 32, nibble * 32 + 32))).toBe(hex(child))
        }
      } else {
        expect(expected).toEqual([])
      }
    }),
  ),
  partition.map((name) =>
    command(`roots with and without ${name}`, (model, forest) => {
      const fresh = forestOf(model)
      expect(forest.partitions()).toEqual([...model.keys()].sort())
      for (const each of NAMES) expect(hex(forest.root(each))).toBe(hex(fresh.root(each)))
      for (const include of [() => true, (each: string) => each !== name]) {
        expect(hex(forest.composedRoot(include))).toBe(hex(fresh.composedRoot(include)))
      }
    }),
  ),
]

test('whatever is done to it, the forest is what a map would be', () => {
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 60 }), (cmds) => {
      fc.modelRun(() => ({ model: new Map(), real: merkleForest() }), cmds)
    }),
    { numRuns: process.env.SLOW ? 2000 : 60 },
  )
})
