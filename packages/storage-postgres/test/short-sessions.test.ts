// A connection that breaks fails whoever waits for it, and never the process, however early it breaks.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { postgresLeaderLock, postgresStore } from '../src/index.ts'
import { type ShortSessions, shortSessions } from './short-sessions.ts'

const unavailable = expect.objectContaining({ code: 'STORAGE_UNAVAILABLE' })

let server: ShortSessions

beforeAll(async () => {
  server = await shortSessions()
})

afterAll(() => server.close())

test('a store whose session ends as it begins is not opened', async () => {
  const before = server.count()
  await expect(postgresStore({ connection: server.connection })).rejects.toEqual(unavailable)
  expect(server.count()).toBeGreaterThan(before)
})

test('nor is a lock taken or asked, time and again', async () => {
  const lock = postgresLeaderLock({ connection: server.connection })
  for (let n = 0; n < 3; n++) {
    const before = server.count()
    await expect(lock.acquire()).rejects.toEqual(unavailable)
    await expect(lock.holder()).rejects.toEqual(unavailable)
    expect(server.count()).toBe(before + 2)
  }
  await lock.close()
})
