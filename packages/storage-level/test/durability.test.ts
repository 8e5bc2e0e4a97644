import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { expect, test, vi } from 'vitest'
import { levelLeaderLock, levelStore } from '../src/index.ts'

// Killing a process does not lose what it gave to the kernel, so only LevelDB's own option tells whether it is synced.
test('every commit and every fencing token is written with fsync', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-sync-'))
  const probe = new ClassicLevel(join(directory, 'probe'))
  await probe.open()
  const batches = vi.spyOn(Object.getPrototypeOf(probe.batch()) as { _write(options: unknown): unknown }, '_write')
  const puts = vi.spyOn(ClassicLevel.prototype as unknown as { _put(...args: unknown[]): unknown }, '_put')

  const store = await levelStore({ path: join(directory, 'data') })
  await store.put('a', new Uint8Array())
  await store.delete('a')
  const transaction = await store.begin()
  await transaction.put('b', new Uint8Array())
  await transaction.commit()
  await levelLeaderLock(store).acquire()

  expect(batches).toHaveBeenCalledTimes(3)
  for (const [options] of batches.mock.calls) expect(options).toMatchObject({ sync: true })
  expect(puts).toHaveBeenCalledTimes(2)
  for (const call of puts.mock.calls) expect(call[2]).toMatchObject({ sync: true })
  await store.close()
  await probe.close()
  await rm(directory, { recursive: true })
})
