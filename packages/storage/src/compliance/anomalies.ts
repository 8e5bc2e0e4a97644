/** What serializable transactions must prevent, provoked by many at the same time, through every handle the fixture has. */
import assert from 'node:assert/strict'
import { type Store, transact } from '../store.ts'
import { bytes, keysOf, type StoreFixture, type StoreTest, text } from './fixture.ts'

const PATIENT = { attempts: 1000 }

export function anomalies(test: StoreTest): void {
  const concurrently = (
    name: string,
    body: (handles: readonly Store[], of: (worker: number) => Store) => Promise<void>,
  ): void =>
    test(`anomaly: ${name}`, async (store, fixture) => {
      const handles = await handlesOf(store, fixture)
      await body(handles, (worker) => handles[worker % handles.length]!)
    })

  concurrently(
    'no update of several counters is lost, and their sum is right in every snapshot',
    async ([store], of) => {
      const counters = ['n/a', 'n/b', 'n/c']
      for (const counter of counters) await store!.put(counter, bytes('0'))
      const both = async (worker: number): Promise<void> => {
        const mine = [counters[worker % 3]!, counters[(worker + 1) % 3]!]
        await transact(
          of(worker),
          async (transaction) => {
            const values = (await transaction.getMany(counters)).map((value) => Number(text(value)))
            assert.equal(values.reduce((sum, value) => sum + value, 0) % 2, 0, 'each commit adds 2')
            for (const counter of mine)
              await transaction.put(counter, bytes(String(values[counters.indexOf(counter)]! + 1)))
          },
          PATIENT,
        )
      }
      await Promise.all(Array.from({ length: 24 }, (_, worker) => both(worker)))
      const values = (await store!.getMany(counters)).map((value) => Number(text(value)))
      assert.deepEqual(values, [16, 16, 16])
    },
  )

  concurrently('write skew by points: of several on call the last one stays', async ([store], of) => {
    for (let round = 0; round < 5; round++) {
      const doctors = Array.from({ length: 4 }, (_, n) => `r${round}/doctor/${n}`)
      for (const doctor of doctors) await store!.put(doctor, bytes('on call'))
      await Promise.all(
        doctors.map((doctor, worker) =>
          transact(
            of(worker),
            async (transaction) => {
              const onCall = (await transaction.getMany(doctors)).filter((value) => text(value) === 'on call')
              if (onCall.length > 1) await transaction.put(doctor, bytes('off'))
            },
            PATIENT,
          ),
        ),
      )
      const left = (await store!.getMany(doctors)).filter((value) => text(value) === 'on call')
      assert.equal(left.length, 1)
    }
  })

  concurrently('write skew by ranges: of several keys the last one is not deleted', async ([store], of) => {
    for (let round = 0; round < 5; round++) {
      const prefix = `s${round}/`
      const keys = Array.from({ length: 4 }, (_, n) => prefix + n)
      for (const key of keys) await store!.put(key, bytes('here'))
      await Promise.all(
        keys.map((key, worker) =>
          transact(
            of(worker),
            async (transaction) => {
              const left =
                worker % 2 === 0 ? await keysOf(transaction.scan({ prefix })) : await transaction.list(prefix)
              if (left.length > 1) await transaction.delete(key)
            },
            PATIENT,
          ),
        ),
      )
      assert.equal((await store!.list(prefix)).length, 1)
    }
  })

  concurrently('phantoms: of many who find a range empty, one fills it', async ([store], of) => {
    for (let round = 0; round < 5; round++) {
      const prefix = `f${round}/`
      let filled = 0
      await Promise.all(
        Array.from({ length: 4 }, async (_, worker) => {
          const claimed = await transact(
            of(worker),
            async (transaction) => {
              const found =
                worker % 2 === 0 ? await keysOf(transaction.scan({ prefix })) : await transaction.list(prefix)
              if (found.length > 0) return false
              await transaction.put(`${prefix}${worker}/claim`, bytes('mine'))
              return true
            },
            PATIENT,
          )
          if (claimed) filled++
        }),
      )
      assert.equal(filled, 1)
      assert.equal((await keysOf(store!.scan({ prefix }))).length, 1)
    }
  })

  concurrently('what was read only decides too: a check elsewhere holds when the commit does', async ([store], of) => {
    await store!.put('open', bytes('yes'))
    const entering = Array.from({ length: 12 }, (_, worker) =>
      transact(
        of(worker),
        async (transaction) => {
          if (text(await transaction.get('open')) === 'yes') await transaction.put(`in/${worker}`, bytes('1'))
        },
        PATIENT,
      ),
    )
    const counted = transact(
      of(1),
      async (transaction) => {
        const inside = (await keysOf(transaction.scan({ prefix: 'in/' }))).length
        await transaction.put('open', bytes(`closed with ${inside}`))
        return inside
      },
      PATIENT,
    )
    await Promise.all([...entering, counted])
    assert.equal(text(await store!.get('open')), `closed with ${await counted}`)
    assert.equal((await store!.list('in/')).length, await counted)
  })

  concurrently('a range of more than a hundred keys is guarded as one of few', async ([store], of) => {
    const filling = await store!.begin()
    for (let n = 0; n < 150; n++) await filling.put(`many/${String(n).padStart(3, '0')}`, bytes('1'))
    await filling.commit()
    const outcomes = await Promise.all(
      Array.from({ length: 4 }, (_, worker) =>
        transact(
          of(worker),
          async (transaction) => {
            const keys = await keysOf(transaction.scan({ prefix: 'many/' }))
            if (keys.length < 150) return false
            await transaction.delete(keys[worker * 30]!)
            return true
          },
          PATIENT,
        ),
      ),
    )
    assert.deepEqual(outcomes.filter(Boolean), [true])
    assert.equal((await store!.list('many/')).length, 149)
  })
}

async function handlesOf(store: Store, fixture: StoreFixture): Promise<Store[]> {
  return fixture.beside === undefined ? [store] : [store, await fixture.beside()]
}
