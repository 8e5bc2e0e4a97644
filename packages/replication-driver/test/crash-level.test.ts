import { cp, mkdtemp, open as openFile, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Engine } from '@lockstep/storage'
import { levelEngine } from '@lockstep/storage-level'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkDisk, open, rootOf, text } from './fixture.ts'
import { history } from './history.ts'

/** A copy of the data directory, taken when a physical write had become durable. */
interface Image {
  directory: string
  /** The file LevelDB appends to, and what this write has appended. */
  log: { name: string; from: number; to: number }
  /** Everything stored before and after it. */
  before: string
  after: string
  /** What callers had been told by the time the write began. */
  acknowledged: ReadonlyMap<string, string | undefined>
}

let root = ''
let images: Image[] = []

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'lockstep-crash-'))
  images = await record(join(root, 'live'))
}, 60_000)
afterAll(() => rm(root, { recursive: true, force: true }))

async function record(directory: string): Promise<Image[]> {
  const disk = await levelEngine({ path: directory })
  const recorded: Image[] = []
  const acknowledged = new Map<string, string | undefined>()
  const engine: Engine = {
    get: (key) => disk.get(key),
    getMany: (keys) => disk.getMany(keys),
    scan: (range) => disk.scan(range),
    list: (prefix, options) => disk.list!(prefix, options),
    async write(operations) {
      const told = new Map(acknowledged)
      const before = await contents(disk)
      const from = await logFile(directory)
      await disk.write(operations)
      const to = await logFile(directory)
      // One file all along: otherwise the tail would not be this write alone.
      expect(to.name).toBe(from.name)
      const copy = join(root, `image-${recorded.length}`)
      await cp(directory, copy, { recursive: true })
      recorded.push({
        directory: copy,
        log: { name: to.name, from: from.size, to: to.size },
        before,
        after: await contents(disk),
        acknowledged: told,
      })
    },
    close: () => disk.close(),
  }
  const store = await open(engine)
  await history(store, (key, value) => acknowledged.set(key, value))
  await store.close()
  await disk.close()
  return recorded
}

async function logFile(directory: string): Promise<{ name: string; size: number }> {
  const name = (await readdir(directory))
    .filter((file) => file.endsWith('.log'))
    .sort()
    .at(-1)!
  return { name, size: (await stat(join(directory, name))).size }
}

async function contents(engine: Engine): Promise<string> {
  const found: string[] = []
  for await (const [key, value] of engine.scan({})) found.push(`${key} ${Buffer.from(value).toString('hex')}`)
  return found.join('\n')
}

/** Opens a crashed copy, checks every invariant, and that it takes writes again. Returns everything it held. */
async function reopened({ acknowledged, before }: Image, directory: string): Promise<string> {
  const disk = await levelEngine({ path: directory })
  try {
    const held = await contents(disk)
    // Before the first write of all there is no store yet; opening makes one.
    const store = await open(disk)
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
    expect((await store.verify()).total).toBe(0)
    const { log } = store
    const records = await log.read(log.oldest() - 1, 1e9)
    expect(records.map(({ index }) => index)).toEqual(records.map((_, at) => log.oldest() + at))
    // A write that is there as a whole may have replaced what was acknowledged before it.
    if (held === before) {
      for (const [key, value] of acknowledged) expect([key, text(await store.get(key))]).toEqual([key, value])
    }
    await store.put('kv/z', Buffer.from('goes on'))
    expect(rootOf(await checkDisk(disk))).toBe(rootOf(store.forest))
    await store.close()
    return held
  } finally {
    await disk.close()
  }
}

const copyOf = async (image: Image, name: string) => {
  const directory = join(root, name)
  await cp(image.directory, directory, { recursive: true })
  return directory
}

/** Deterministic places strictly inside the bytes a write has appended: the first, the last, and some between. */
function cuts({ from, to }: Image['log']): number[] {
  const length = to - from
  return [...new Set([from, from + 1, from + Math.floor(length * 0.37), from + Math.floor(length * 0.81), to - 1])]
}

describe('a crash of LevelDB at every physical write', () => {
  test('with the write whole: it is there', async () => {
    expect(images.length).toBeGreaterThan(10)
    for (const [at, image] of images.entries()) {
      expect(await reopened(image, await copyOf(image, `whole-${at}`))).toBe(image.after)
    }
  }, 120_000)

  test('with its tail torn off anywhere: nothing of it is there, and all before it', async () => {
    let torn = 0
    for (const [at, image] of images.entries()) {
      for (const cut of cuts(image.log)) {
        const directory = await copyOf(image, `torn-${at}-${cut}`)
        await truncate(join(directory, image.log.name), cut)
        expect(await reopened(image, directory)).toBe(image.before)
        await rm(directory, { recursive: true })
        torn++
      }
    }
    expect(torn).toBeGreaterThan(images.length * 4)
  }, 240_000)

  test('with zeros where its tail should be, as a file system leaves them: the same', async () => {
    for (const [at, image] of images.entries()) {
      const { name, from, to } = image.log
      const directory = await copyOf(image, `zeros-${at}`)
      const file = await openFile(join(directory, name), 'r+')
      const cut = from + ((to - from) >> 1)
      await file.write(Buffer.alloc(to - cut), 0, to - cut, cut)
      await file.close()
      expect(await reopened(image, directory)).toBe(image.before)
      await rm(directory, { recursive: true })
    }
  }, 120_000)
})
