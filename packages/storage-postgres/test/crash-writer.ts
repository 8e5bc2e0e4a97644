/** Run as a process of its own by crash.test.ts: leads, writes without end, and says what was acknowledged. */
import { writeSync } from 'node:fs'
import { optimisticStore, type StorageError, type Store, storeEngine } from '@lockstep/storage'
import { postgresLeaderLock, postgresStore } from '../src/index.ts'

const [connection, table, round] = process.argv.slice(2) as [string, string, string]
const heartbeat = 500
const lock = postgresLeaderLock({ connection, table, heartbeat })
const leadership = await lock.acquire()
writeSync(1, `leads ${leadership.fencingToken}\n`)
const store = optimisticStore(storeEngine(await postgresStore({ connection, table, fencedBy: leadership })))
const encoder = new TextEncoder()

async function write(to: Store, name: string, single: boolean): Promise<void> {
  if (single) return to.put(`single/${name}`, encoder.encode(name))
  const transaction = await to.begin()
  await transaction.put(`pair/a/${name}`, encoder.encode(name))
  await transaction.put(`pair/b/${name}`, encoder.encode(name))
  await transaction.commit()
}

async function writeOn(writer: number): Promise<void> {
  for (let i = 0; ; i++) {
    const name = `${round}-${writer}-${i}`
    try {
      await write(store, name, i % 2 === 0)
    } catch (error) {
      // Synchronous, so the line is out of this process before anything else happens.
      writeSync(1, `refused ${(error as StorageError).code} ${name}\n`)
      return
    }
    writeSync(1, `wrote ${name}\n`)
  }
}

await Promise.all(Array.from({ length: 6 }, (_, writer) => writeOn(writer)))
await leadership.lost
// One more, by a process that knows by now.
await store.put(`single/${round}-late`, encoder.encode('late')).then(
  () => writeSync(1, `wrote ${round}-late\n`),
  (error: StorageError) => writeSync(1, `refused ${error.code} ${round}-late\n`),
)
await store.close()
await lock.close()
