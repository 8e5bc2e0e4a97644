import type { Position } from '@lockstep/replication'
import type { FollowStatus } from '@lockstep/replication-driver'
import { describe, expect, test } from 'vitest'
import { encodeHandover, holdsAll, parseHandover, parseHandoverAnswer } from './handover.ts'
import { heardMemory } from './heard.ts'
import { judgePromotion, type PromotionFacts } from './promotion.ts'
import { departure, type PromotionReceipt, parseReceipt } from './receipts.ts'

const digest = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const hex = (fill: number): string => Buffer.from(digest(fill)).toString('hex')
const at = (index: number, epoch = 1, fill = index): Position => ({
  ...{ clusterId: 'c', epoch, view: 'v' },
  cursor: { epoch, index, digest: digest(fill) },
})
const credentials = { caCertificate: '', certificate: '', privateKey: '' }
const facts = (given: Partial<PromotionFacts>): PromotionFacts => ({
  kind: 'dr',
  record: {
    ...{ mode: 'secondary', clusterId: 'c', secondaryId: 'dr', primaryClusterAddrs: ['a:1'], enabledAt: 0 },
    credentials,
  },
  ...{ ownEpoch: 1, position: at(9), heard: { index: 9, at: 5000 }, lagMs: 0, lastError: '' },
  ...{ handover: undefined, handedTo: [], now: 6000 },
  ...given,
})

describe('judgement', () => {
  test('everything heard of is applied: safe, with the time since', () => {
    expect(judgePromotion(facts({}))).toMatchObject({
      ...{ safe: true, reasons: [], epoch: 1, nextEpoch: 2, missingRecords: 0, lagSeconds: 1, handedOver: false },
      from: { epoch: 1, index: 9, digest: hex(9) },
    })
  })

  test('each thing that speaks against it is named', () => {
    const missing = judgePromotion(facts({ heard: { index: 12, at: 5000 }, lastError: 'cut' }))
    expect(missing).toMatchObject({ safe: false, missingRecords: 3, reasons: [expect.stringContaining('3 records')] })
    expect(missing.reasons[0]).toContain('cut')
    expect(judgePromotion(facts({ heard: undefined })).reasons).toEqual([expect.stringContaining('nothing was heard')])
    expect(judgePromotion(facts({ position: undefined })).reasons).toEqual([expect.stringContaining('not complete')])
    const detached = facts({ heard: undefined })
    detached.record.primaryClusterAddrs = []
    expect(judgePromotion(detached).reasons).toEqual(['it has no primary to follow'])
  })

  test('a handover counts for the place it named, or a later one of the same epoch', () => {
    const told = (index: number, epoch: number, fill: number) => ({ index, epoch, digest: hex(fill), at: 0 })
    const silent = { heard: undefined }
    expect(judgePromotion(facts({ ...silent, handover: told(9, 1, 9) }))).toMatchObject({
      safe: true,
      handedOver: true,
    })
    expect(judgePromotion(facts({ ...silent, handover: told(8, 1, 8) })).handedOver).toBe(true)
    for (const other of [told(10, 1, 10), told(9, 1, 7), told(9, 2, 9)]) {
      expect(judgePromotion(facts({ ...silent, handover: other })), JSON.stringify(other)).toMatchObject({
        ...{ safe: false, handedOver: false },
      })
    }
    expect(holdsAll({ ...at(9), cursor: null }, told(9, 1, 9))).toBe(false)
  })

  test('a handover counts no longer once a later epoch is followed, although nothing of it came yet', () => {
    const handover = { index: 9, epoch: 1, digest: hex(9), at: 0 }
    const again = { ...at(9), epoch: 2 }
    expect(judgePromotion(facts({ position: again, heard: { index: 12, at: 5000 }, handover }))).toMatchObject({
      ...{ safe: false, handedOver: false, missingRecords: 3 },
    })
  })
})

describe('what was heard', () => {
  const status = (given: object): FollowStatus =>
    ({
      ...{ protocol: 2, primaryHead: 0, connectionState: 'ready', position: at(90) },
      heartbeat: { lastHeartbeat: 0 },
      ...given,
    }) as unknown as FollowStatus

  test('is not forgotten with the link it was heard over', () => {
    const memory = heardMemory({ now: () => 7000 })
    expect(memory.value()).toBeUndefined()
    memory.observe(status({ protocol: 0 }))
    expect(memory.value()).toBeUndefined()
    memory.observe(status({ primaryHead: 100, heartbeat: { lastHeartbeat: 5000 } }))
    // The next link has told nothing yet.
    memory.observe(status({ protocol: 0, connectionState: 'connecting' }))
    memory.observe(status({ primaryHead: 0 }))
    expect(memory.value()).toEqual({ index: 100, at: 5000 })
  })

  test('of another primary is counted anew', () => {
    const memory = heardMemory({ now: () => 7000 })
    memory.observe(status({ primaryHead: 100 }))
    memory.observe(status({ primaryHead: 40, position: at(40, 2) }))
    expect(memory.value()?.index).toBe(40)
  })
})

test('what a peer says of a handover is checked', () => {
  const last = { epoch: 1, index: 2, digest: digest(3) }
  expect(parseHandover(encodeHandover({ last, waitMs: 100 }))).toEqual({ last, waitMs: 100 })
  for (const change of [
    { epoch: -1 },
    { index: 1.5 },
    { digest: new Uint8Array(31) },
    { digest: 'x' },
    { waitMs: 1e9 },
  ]) {
    const [field] = Object.keys(change)
    expect(() => parseHandover({ ...last, waitMs: 1, ...change })).toThrow(field)
  }
  expect(() => parseHandover(null)).toThrow('epoch')
  for (const answer of [null, 'x', { complete: 'yes', index: -1 }, {}]) {
    expect(parseHandoverAnswer(answer)).toEqual({ complete: false, index: 0 })
  }
})

describe('receipts', () => {
  const receipt = (epoch: number, from: PromotionReceipt['from']): PromotionReceipt => ({
    ...{ kind: 'dr', epoch, clusterId: 'c', at: 1, lastHeardIndex: null, lastHeartbeat: 0, from },
    by: { token: 't', accessor: '', remoteAddress: '::1' },
    ...{ handedOver: false, forced: true, reasons: ['why'], inherited: false },
  })
  const place = (epoch: number, index: number) => ({ epoch, index, digest: hex(index) })

  test('the promotion that left a history is the first of a later epoch, when it speaks of that history', () => {
    const all = [receipt(2, place(1, 10)), receipt(3, place(2, 5))]
    expect(departure(all, 1)?.from).toEqual(place(1, 10))
    expect(departure(all, 2)?.from).toEqual(place(2, 5))
    expect(departure(all, 3)).toBeUndefined()
    // The one in between is not known.
    expect(departure([all[1]!], 1)).toBeUndefined()
    expect(departure([receipt(2, null)], 1)).toBeUndefined()
  })

  test('from a peer they are checked field by field', () => {
    const whole = receipt(2, place(1, 10))
    expect(parseReceipt(JSON.stringify({ ...whole, more: 'dropped' }))).toEqual(whole)
    for (const text of [
      '',
      'null',
      '[]',
      '{',
      '1',
      ...[{ kind: 'x' }, { epoch: -1 }, { from: {} }, { by: null }, { reasons: [1] }, { at: 'now' }].map((change) =>
        JSON.stringify({ ...whole, ...change }),
      ),
    ]) {
      expect(parseReceipt(text), text).toBeUndefined()
    }
  })
})
