import { decodeRecord, keyIdOf, leafDigestOf, type MerkleForest, merkleForest, nextDigest } from '@lockstep/replication'
import { type Engine, memoryEngine, type WriteOperation } from '@lockstep/storage'
import { expect } from 'vitest'
import { type KeyClass, type LoggedStore, type LoggedStoreOptions, loggedStore } from '../src/index.ts'
import {
  DATA,
  decodeHead,
  decodeLeaf,
  decodeRow,
  HEAD,
  INDEX,
  indexOfLogKey,
  LOG,
  parseIndexKey,
} from '../src/layout.ts'

export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString()

/** `ignored/...` ignored, `local/<mount>/...` local, `<mount>/...` replicated, else replicated core. */
export function classify(key: string): KeyClass {
  const parts = key.split('/')
  if (parts[0] === 'ignored') return { class: 'ignored' }
  if (parts[0] === 'local') return { class: 'local', mount: parts[1] || 'core', mountPath: `${parts[1]}/` }
  if (parts.length === 1) return { class: 'replicated', mount: 'core', mountPath: '' }
  return { class: 'replicated', mount: parts[0] || 'core', mountPath: `${parts[0]}/` }
}

export const open = (engine: Engine, options: Partial<LoggedStoreOptions> = {}): Promise<LoggedStore> =>
  loggedStore(engine, { classify, writable: () => true, keepLog: () => true, ...options })

/** A disk whose `n`-th write (from 1) fails, either with nothing stored or with everything stored. */
export function faultyEngine(disk = memoryEngine()) {
  let count = 0
  let fault: { at: number; stored: boolean; once: boolean } | undefined
  const engine: Engine = {
    get: (key) => disk.get(key),
    getMany: (keys) => disk.getMany(keys),
    scan: (range) => disk.scan(range),
    list: (prefix, options) => disk.list!(prefix, options),
    async write(operations: readonly WriteOperation[]) {
      count++
      if (fault && (fault.once ? count === fault.at : count >= fault.at)) {
        if (fault.stored && count === fault.at) await disk.write(operations)
        throw new Error('disk failed')
      }
      await disk.write(operations)
    },
    close: () => disk.close(),
  }
  return {
    disk,
    engine,
    writes: () => count,
    failAt(at: number, stored: boolean, once = false) {
      fault = { at, stored, once }
    },
    failNext(stored: boolean) {
      fault = { at: count + 1, stored, once: true }
    },
  }
}

export async function entries(engine: Engine, prefix: string): Promise<[string, Uint8Array][]> {
  const found: [string, Uint8Array][] = []
  for await (const [key, value] of engine.scan({ prefix })) found.push([key, value])
  return found
}

/**
 * The invariants of the layout, checked on the bare disk: index rows are exactly the leaves of the data (under the tag on
 * record), the log is contiguous from start to head, and its digests chain. Returns the forest rebuilt from the data.
 */
export async function checkDisk(disk: Engine, rules = classify): Promise<MerkleForest> {
  const data = await entries(disk, DATA)
  const rows = new Map((await entries(disk, INDEX)).map(([row, value]) => [row, decodeLeaf(value)]))
  const forest = merkleForest()
  const tagged = new Map<string, { partition: string; digest: Uint8Array }>()
  for (const [row, { digest, key }] of rows) {
    const { partition, keyId } = parseIndexKey(row)
    expect(keyId).toBe(Buffer.from(keyIdOf(key)).toString('hex'))
    expect(tagged.has(key), `${key} has two class tags`).toBe(false)
    tagged.set(key, { partition, digest })
  }
  for (const [stored, value] of data) {
    const key = stored.slice(DATA.length)
    if (rules(key).class === 'ignored') continue
    const tag = tagged.get(key)
    expect(tag, `${key} has a class tag`).toBeDefined()
    const digest = leafDigestOf(key, value)
    expect(Buffer.compare(tag!.digest, digest)).toBe(0)
    forest.set(tag!.partition, keyIdOf(key), digest)
    tagged.delete(key)
  }
  expect([...tagged.keys()]).toEqual([])

  const head = decodeHead((await disk.get(HEAD))!)
  let digest = head.digestBeforeStart
  let bytes = head.bytesBeforeStart
  let index = head.start - 1
  for (const [key, value] of await entries(disk, LOG)) {
    if (indexOfLogKey(key) < head.start) continue
    expect(indexOfLogKey(key)).toBe(++index)
    const row = decodeRow(value)
    expect(decodeRecord(row.body).index).toBe(index)
    digest = nextDigest(digest, row.body)
    bytes += row.body.byteLength
    expect(Buffer.compare(row.digest, digest)).toBe(0)
    expect(row.bytes).toBe(bytes)
  }
  expect({ index, bytes }).toEqual({ index: head.index, bytes: head.bytes })
  expect(Buffer.compare(head.digest, digest)).toBe(0)
  return forest
}

export const rootOf = (forest: { composedRoot(include: () => boolean): Uint8Array }): string =>
  Buffer.from(forest.composedRoot(() => true)).toString('hex')
