import { anomalies } from './anomalies.ts'
import { closing } from './closing.ts'
import type { ComplianceTest, StoreFixture, StoreTest } from './fixture.ts'
import { keys } from './keys.ts'
import { lists } from './lists.ts'
import { points } from './points.ts'
import { scans } from './scans.ts'
import { concurrency } from './transaction-concurrency.ts'
import { isolation } from './transaction-isolation.ts'
import { transactionLife } from './transaction-life.ts'
import { values } from './values.ts'

export interface StoreComplianceOptions {
  test: ComplianceTest
  /** Makes an empty store for each test. */
  factory: () => Promise<StoreFixture>
}

/** Registers tests of everything the `Store` contract promises. A store that passes may be used by every Lockstep package. */
export function storeCompliance(options: StoreComplianceOptions): void {
  const test: StoreTest = (name, body) => {
    options.test(name, async () => {
      const fixture = await options.factory()
      try {
        await body(fixture.store, fixture)
      } finally {
        await (fixture.dispose?.() ?? fixture.store.close())
      }
    })
  }
  for (const part of [points, keys, values, lists, scans, transactionLife, isolation, concurrency, anomalies, closing])
    part(test)
}
