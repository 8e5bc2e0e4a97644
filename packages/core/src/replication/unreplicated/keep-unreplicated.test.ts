import { encodePosition, type Position } from '@lockstep/replication'
import { expect, test } from 'vitest'
import type { PromotionReceipt } from '../promotion/receipts.ts'
import type { SecondaryRecord } from '../role-records.ts'
import { keepUnreplicated } from './keep-unreplicated.ts'
import type { UnreplicatedSet } from './unreplicated.ts'

const hex = (fill: number): string => Buffer.alloc(32, fill).toString('hex')
const record: SecondaryRecord = {
  ...{ mode: 'secondary', clusterId: 'c', secondaryId: 's', primaryClusterAddrs: ['a:1'], enabledAt: 0 },
  credentials: { caCertificate: '', certificate: '', privateKey: '' },
}
const receipt = (epoch: number, at: number, from: { epoch: number; index: number }): PromotionReceipt => ({
  ...{ kind: 'dr', epoch, clusterId: 'c', at, from: { ...from, digest: hex(from.index) }, forced: true },
  ...{ by: { token: '', accessor: '', remoteAddress: '' }, lastHeardIndex: null, lastHeartbeat: 0 },
  ...{ handedOver: false, reasons: [], inherited: true },
})
const at = (epoch: number, index: number): Position => ({
  ...{ clusterId: 'c', epoch, view: 'v' },
  cursor: { epoch, index, digest: new Uint8Array(32).fill(index) },
})

interface Given {
  position: Position | undefined
  known?: PromotionReceipt[]
  promotions: PromotionReceipt[]
  sets?: Partial<UnreplicatedSet>[]
}
/** The id of the set that is begun. */
async function begun({ position, known = [], promotions, sets = [] }: Given): Promise<string | undefined> {
  const set = await keepUnreplicated(
    {
      unreplicated: {
        begin: async (_kind, id) => ({ id }) as UnreplicatedSet,
        list: async () => sets as UnreplicatedSet[],
        capture: () => Promise.reject(new Error('no log of its own')),
      },
      logged: { get: async () => position && encodePosition(position) } as never,
      clock: { now: () => 77 } as never,
      log: { warn() {} },
    },
    'dr',
    record,
    { known, promotions },
  )
  return set?.id
}

const a = receipt(2, 1000, { epoch: 1, index: 10 })
const b = receipt(2, 2000, { epoch: 1, index: 8 })

test('of the primary that it followed nothing is kept, of its successor what it had come further', async () => {
  expect(await begun({ position: at(1, 9), promotions: [] })).toBeUndefined()
  expect(await begun({ position: at(1, 9), promotions: [a] })).toBeUndefined()
  expect(await begun({ position: at(1, 11), promotions: [a] })).toBe('2-11-followed')
  expect(await begun({ position: at(2, 5), known: [a], promotions: [{ ...a, inherited: false }] })).toBeUndefined()
})

test('two that were promoted from one epoch begin the same number: what the one had told is kept from the other', async () => {
  expect(await begun({ position: at(2, 5), known: [a], promotions: [b] })).toBe('2-5-followed')
  // Led on to a later epoch, at a place that looks as if it were further in the same log.
  const later = receipt(3, 3000, { epoch: 2, index: 50 })
  expect(await begun({ position: at(2, 5), known: [a], promotions: [b, later] })).toBe('3-5-followed')
  expect(await begun({ position: at(2, 5), known: [b], promotions: [b, later] })).toBeUndefined()
})

test('a comparison that was under way does not cost what was in sync before', async () => {
  expect(await begun({ position: { ...at(1, 9), cursor: null }, promotions: [a] })).toBe('2-sync-77-followed')
  expect(await begun({ position: { ...at(1, 9), cursor: null }, promotions: [] })).toBeUndefined()
  // The first of all was not over.
  expect(await begun({ position: { ...at(1, 9), cursor: null, view: '' }, promotions: [a] })).toBeUndefined()
})

test('a set that is still being filled goes on, and one that is complete is not overwritten', async () => {
  const given = { position: at(1, 11), promotions: [a] }
  expect(await begun({ ...given, sets: [{ id: 'other', open: true }] })).toBeUndefined()
  expect(await begun({ ...given, sets: [{ id: '2-11-followed', open: false }] })).toBe('2-11-followed-77')
})
