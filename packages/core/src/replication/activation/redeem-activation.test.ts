import { memoryStore } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { type KnownSecondary, roleRecords } from '../role-records.ts'
import { redeemActivation } from './redeem-activation.ts'

const issued = (): KnownSecondary => ({
  ...{ id: 'us', fingerprint: 'f', issuedAt: 0 },
  sealedActivation: { expires: 1000, redeemed: false },
})
const clock = { now: () => 1 } as never

test('a token is good once, also for two that come at the same time', async () => {
  const storage = memoryStore()
  const secondary = issued()
  await roleRecords(storage).saveSecondary('dr', secondary)
  const redeem = redeemActivation({ storage, clock, known: () => [secondary] }, 'dr')
  const outcomes = await Promise.allSettled([redeem('us'), redeem('us')])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
  expect((await roleRecords(storage).secondary('dr', 'us'))?.sealedActivation?.redeemed).toBe(true)
})

test('what another node of the cluster has stored counts', async () => {
  const storage = memoryStore()
  const [here, there] = [issued(), issued()]
  await roleRecords(storage).saveSecondary('dr', here)
  await redeemActivation({ storage, clock, known: () => [here] }, 'dr')('us')
  const second = redeemActivation({ storage, clock, known: () => [there] }, 'dr')
  await expect(second('us')).rejects.toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
})

test('a revocation that is under way is not undone', async () => {
  const storage = memoryStore()
  const secondary = issued()
  const records = roleRecords(storage)
  await records.saveSecondary('dr', secondary)
  // The record is gone already, the role has not been told yet.
  await records.removeSecondary('dr', 'us')
  const redeem = redeemActivation({ storage, clock, known: () => [secondary] }, 'dr')
  await expect(redeem('us')).rejects.toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  expect(await records.secondaries('dr')).toEqual([])
})
