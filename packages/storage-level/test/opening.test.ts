import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { levelEngine, levelLeaderLock, levelStore } from '../src/index.ts'

let directory: string
let path: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-open-'))
  path = join(directory, 'data')
})

afterEach(() => rm(directory, { recursive: true }))

async function refusal(at: string): Promise<{ code: string; message: string }> {
  const error = await levelStore({ path: at }).then(
    (store) => store.close().then(() => new Error('was opened')),
    (reason: unknown) => reason,
  )
  const { code, message } = error as { code: string; message: string }
  expect(message).toContain(at)
  return { code, message }
}

async function writeMeta(value: string): Promise<void> {
  await (await levelStore({ path })).close()
  const raw = new ClassicLevel(path)
  await raw.put('', value)
  await raw.close()
}

test('a new data directory is for its owner only', async () => {
  await (await levelStore({ path })).close()
  expect((await stat(path)).mode & 0o777).toBe(0o700)
})

test('an existing empty directory is used', async () => {
  await mkdir(path)
  await (await levelStore({ path })).close()
  expect(await readdir(path)).toContain('CURRENT')
})

test('a missing parent directory is an error and stays missing', async () => {
  const { code, message } = await refusal(join(directory, 'not-mounted', 'data'))
  expect(code).toBe('STORAGE_UNAVAILABLE')
  expect(message).toContain('parent')
  expect(await readdir(directory)).toEqual([])
})

test('a file is not a data directory', async () => {
  await writeFile(path, 'text')
  const { code, message } = await refusal(path)
  expect(code).toBe('STORAGE_UNAVAILABLE')
  expect(message).toContain('not a directory')
})

test('the same directory twice in one process is refused', async () => {
  const store = await levelStore({ path })
  expect((await refusal(path)).code).toBe('STORAGE_LOCKED')
  await store.close()
})

test('a newer format is refused and left alone', async () => {
  await writeMeta('{"format":2,"fencing":"0"}')
  expect((await refusal(path)).code).toBe('STORAGE_NEWER_FORMAT')
  const raw = new ClassicLevel(path)
  expect(await raw.get('')).toBe('{"format":2,"fencing":"0"}')
  await raw.close()
})

test.each(['not json', '{}', '{"format":1,"fencing":"x"}', '{"format":0,"fencing":"0"}'])(
  'a format record %s is refused as corrupt',
  async (record) => {
    await writeMeta(record)
    expect((await refusal(path)).code).toBe('STORAGE_CORRUPT')
  },
)

test('a database of something else is refused', async () => {
  const raw = new ClassicLevel(path)
  await raw.put('some', 'data')
  await raw.close()
  expect((await refusal(path)).code).toBe('STORAGE_CORRUPT')
})

test('data without the file CURRENT is refused instead of started anew', async () => {
  const store = await levelStore({ path })
  await store.put('precious', new Uint8Array([1]))
  await store.close()
  await rm(join(path, 'CURRENT'))
  expect((await refusal(path)).code).toBe('STORAGE_CORRUPT')
})

test('a damaged manifest is refused as corrupt', async () => {
  await (await levelStore({ path })).close()
  const manifest = (await readdir(path)).find((name) => name.startsWith('MANIFEST'))
  await writeFile(join(path, manifest!), Buffer.alloc(100, 0x5a))
  expect((await refusal(path)).code).toBe('STORAGE_CORRUPT')
})

test('the format record is not visible as a key', async () => {
  const store = await levelStore({ path })
  expect(await store.list('')).toEqual([])
  for await (const entry of store.scan({ reverse: true })) expect(entry).toBeUndefined()
  await expect(store.get('')).rejects.toMatchObject({ code: 'STORAGE_INVALID_KEY' })
  await store.close()
})

test('fencing tokens grow across restarts', async () => {
  let last = 0n
  for (let restart = 0; restart < 3; restart++) {
    const store = await levelStore({ path })
    const { fencingToken } = await levelLeaderLock(store).acquire()
    expect(fencingToken).toBeGreaterThan(last)
    last = fencingToken
    await store.close()
  }
})

test('tokens asked for at the same time are different and the last one is the one kept', async () => {
  const engine = await levelEngine({ path })
  const tokens = await Promise.all([1, 2, 3].map(() => engine.nextFencingToken()))
  expect(tokens).toEqual([1n, 2n, 3n])
  await engine.close()
  const again = await levelEngine({ path })
  expect(await again.nextFencingToken()).toBe(4n)
  await again.close()
})
