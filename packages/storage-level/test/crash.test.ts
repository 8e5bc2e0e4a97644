import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { levelStore } from '../src/index.ts'
import { bundle } from './bundle.ts'

let directory: string
let writer: Awaited<ReturnType<typeof bundle>>

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-crash-'))
  writer = await bundle(new URL('./crash-writer.ts', import.meta.url))
})

afterAll(async () => {
  await writer.remove()
  await rm(directory, { recursive: true })
})

/** Lets the writer acknowledge at least `count` writes, kills it with SIGKILL, and returns all it acknowledged. */
async function writeAndKill(path: string, round: number, count: number): Promise<string[]> {
  const child = spawn(process.execPath, [writer.file, path, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const acknowledged: string[] = []
  const closed = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line)
    if (acknowledged.length === count) child.kill('SIGKILL')
  }
  const [, signal] = (await closed) as [number | null, string | null]
  assert.equal(signal, 'SIGKILL')
  return acknowledged
}

test('after kill -9 every acknowledged write is there, and no transaction by half', async () => {
  const path = join(directory, 'data')
  const acknowledged: string[] = []
  for (const [round, count] of [300, 777, 40].entries()) {
    const lines = await writeAndKill(path, round, count)
    expect(lines.length).toBeGreaterThanOrEqual(count)
    acknowledged.push(...lines)

    const store = await levelStore({ path })
    for (const name of acknowledged) {
      const single = Number(name.split('-')[2]) % 2 === 0
      for (const key of single ? [`single/${name}`] : [`pair/a/${name}`, `pair/b/${name}`]) {
        const value = await store.get(key)
        assert.equal(value && new TextDecoder().decode(value), name, key)
      }
    }
    expect(await store.list('pair/a/')).toEqual(await store.list('pair/b/'))
    await store.close()
  }
})

test('a directory that another process has open is refused by name, and free once that process is dead', async () => {
  const path = join(directory, 'locked')
  const child = spawn(process.execPath, [writer.file, path, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  await once(child.stdout, 'data')
  child.stdout.resume()
  await expect(levelStore({ path })).rejects.toMatchObject({
    code: 'STORAGE_LOCKED',
    message: expect.stringContaining(path),
  })
  child.kill('SIGKILL')
  await closed
  await (await levelStore({ path })).close()
})
