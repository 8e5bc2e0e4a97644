import { memoryEngine, StorageError } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { announcedWrites } from './announced-writes.ts'

test('failing writes are said once for each reason, and once that they succeed again', async () => {
  const said: string[] = []
  const say = (level: string) => (text: string, fields?: Record<string, unknown>) =>
    void said.push([level, text, fields?.reason].filter(Boolean).join(' | '))
  let failure: StorageError | undefined
  const memory = memoryEngine()
  const engine = announcedWrites(
    { ...memory, write: (operations) => (failure ? Promise.reject(failure) : memory.write(operations)) },
    { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
  )
  const write = () => engine.write([{ type: 'put', key: 'a', value: new Uint8Array() }]).catch(() => {})

  await write()
  expect(said).toEqual([])
  failure = new StorageError('STORAGE_UNAVAILABLE', 'its disk is full')
  for (let n = 0; n < 5; n++) await write()
  failure = new StorageError('STORAGE_UNAVAILABLE', 'it is starting up')
  await write()
  failure = undefined
  for (let n = 0; n < 5; n++) await write()
  expect(said).toEqual([
    'error | writing to the storage fails, writes are refused until it succeeds | its disk is full',
    'error | writing to the storage fails, writes are refused until it succeeds | it is starting up',
    'info | writing to the storage succeeds again',
  ])
  failure = new StorageError('STORAGE_CLOSED', 'the store is closed')
  await write()
  expect(said).toHaveLength(3)
})
