// Whatever a peer says or a damaged record holds: a value of the documented shape or the error of this package, and nothing else.
import { encodeExactJson } from '@lockstep/backend'
import type { Plain } from '@lockstep/replication'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CoreError, type CoreRequest, type TokenEntry } from '../../src/contracts.ts'
import { encodeBootstrapReply, parseBootstrapReply } from '../../src/replication/activation/bootstrap-reply.ts'
import {
  decodeForwardedAnswer,
  decodeForwardedRequest,
  encodeForwardedAnswer,
  encodeForwardedRequest,
} from '../../src/replication/forwarding/forwarded-request.ts'
import { answerInspect, parseHeldPage } from '../../src/replication/inspect/inspect-held.ts'
import {
  encodeHandover,
  encodeHandoverAnswer,
  parseHandover,
  parseHandoverAnswer,
} from '../../src/replication/promotion/handover.ts'
import { type PromotionReceipt, parseReceipt } from '../../src/replication/promotion/receipts.ts'
import { parseRejoined } from '../../src/replication/promotion/rejoined.ts'
import { decodeKept, encodeKept, type KeptEntry } from '../../src/replication/unreplicated/unreplicated-entry.ts'

const runs = { numRuns: process.env.SLOW ? 20_000 : 400 }

/** What a decoded message can be made of. */
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, undefined, true, false, '', 0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 8 }), tie('value'), { maxKeys: 4 }),
  ),
})).value as fc.Arbitrary<Plain>

/** A valid message with some fields changed, gone or added, or nothing like it. */
function near(valid: Record<string, unknown>): fc.Arbitrary<Plain> {
  const names = Object.keys(valid)
  const changes = fc.array(fc.tuple(fc.constantFrom(...names, '__proto__', 'extra'), fc.option(plain)), {
    maxLength: 3,
  })
  const changed = changes.map((list) => {
    const result = new Map<string, unknown>(Object.entries(valid))
    for (const [name, value] of list) {
      if (value === null) result.delete(name)
      else result.set(name, value)
    }
    return Object.fromEntries(result) as Plain
  })
  return fc.oneof({ weight: 4, arbitrary: changed }, { weight: 1, arbitrary: plain })
}

/** Bytes that were valid, with some changed, cut off or put in. */
const mutated = (valid: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'cut', 'insert')), { maxLength: 4 })
    .map((changes) => {
      let bytes = Buffer.from(valid)
      for (const [place, byte, how] of changes) {
        const at = place % (bytes.length + 1)
        if (how === 'set' && at < bytes.length) bytes[at] = byte
        if (how === 'cut') bytes = bytes.subarray(0, at)
        if (how === 'insert') bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([byte]), bytes.subarray(at)])
      }
      return new Uint8Array(bytes)
    })

function tried<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch (error) {
    expect(error).toBeInstanceOf(CoreError)
    return undefined
  }
}

const receipt: PromotionReceipt = {
  ...{ kind: 'dr', epoch: 3, clusterId: 'c', at: 5, lastHeardIndex: null, lastHeartbeat: 0, handedOver: true },
  by: { token: 'root', accessor: 'a', remoteAddress: '127.0.0.1' },
  from: { epoch: 1, index: 2, digest: 'ab'.repeat(32) },
  ...{ forced: false, reasons: ['r'], inherited: false },
}

test('bootstrap replies', () => {
  const operatorKey = { key: new Uint8Array(32), shares: 5, threshold: 3 }
  const reply = { clusterId: 'c', keyring: new Uint8Array(8), operatorKey, promotions: [receipt] }
  const valid = encodeBootstrapReply(reply) as Record<string, unknown>
  expect(parseBootstrapReply(valid)).toEqual({ ...reply, promotions: [{ ...receipt, inherited: true }] })
  fc.assert(
    fc.property(near(valid), (body) => {
      const parsed = tried(() => parseBootstrapReply(body))
      if (parsed === undefined) return
      expect(parsed.operatorKey.key).toHaveLength(32)
      expect(parsed.operatorKey.threshold).toBeLessThanOrEqual(parsed.operatorKey.shares)
      for (const { inherited } of parsed.promotions) expect(inherited).toBe(true)
    }),
    runs,
  )
})

test('receipts', () => {
  const text = JSON.stringify(receipt)
  expect(parseReceipt(text)).toEqual(receipt)
  const shape = Object.keys(receipt).sort()
  fc.assert(
    fc.property(
      fc.oneof(
        mutated(Buffer.from(text)).map((bytes) => Buffer.from(bytes).toString()),
        near(receipt as never).map((value) => JSON.stringify(value) ?? ''),
      ),
      (given) => {
        const parsed = parseReceipt(given)
        if (parsed === undefined) return
        expect(Object.keys(parsed).sort()).toEqual(shape)
        expect([parsed.epoch, parsed.at, parsed.lastHeartbeat].every(Number.isSafeInteger)).toBe(true)
      },
    ),
    runs,
  )
})

const request: CoreRequest = {
  ...{ id: 'r', operation: 'update', path: 'kv/a', data: { a: 1 }, clientToken: 'hvs.x' },
  headers: { 'x-vault-token': 'hvs.x', 'x-a': 'b' },
  ...{ remoteAddress: '127.0.0.1', remotePort: 1, wrapTtl: 0, wrapFormat: '' },
}
const caller = {
  ...{ accessor: 'a', displayName: 'd', policies: ['p'], type: 'service', entityId: '', meta: null, cubbyholeId: 'c' },
} as unknown as TokenEntry

test('forwarded requests', () => {
  const valid = encodeForwardedRequest(request, caller) as { head: Uint8Array; data: Uint8Array }
  expect(decodeForwardedRequest(valid as never)).toMatchObject({
    path: 'kv/a',
    data: { a: 1 },
    headers: { 'x-a': 'b' },
  })
  const head = {
    ...{ id: 'r', operation: 'read', path: 'p', headers: {}, remoteAddress: '', remotePort: 1, wrapTtl: 0 },
    caller: { ...caller },
  }
  const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value) ?? 'null')
  const heads = near(head).map((value) => encodeExactJson(json(value) as Record<string, unknown>))
  const callers = near({ ...caller }).map((value) => encodeExactJson(json({ ...head, caller: value }) as never))
  const bodies = fc.oneof(
    near(valid),
    fc
      .tuple(fc.oneof(heads, callers, mutated(valid.head)), mutated(valid.data))
      .map(([first, data]) => ({ head: first, data })),
  )
  fc.assert(
    fc.property(bodies, (body) => {
      const decoded = tried(() => decodeForwardedRequest(body as Plain))
      if (decoded === undefined) return
      expect(typeof decoded.path).toBe('string')
      expect(typeof decoded.data === 'object' && decoded.data !== null).toBe(true)
      expect(Object.values(decoded.headers).every((value) => typeof value === 'string')).toBe(true)
      if (decoded.caller !== undefined)
        expect(decoded.caller.policies.every((name) => typeof name === 'string')).toBe(true)
    }),
    runs,
  )
})

test('forwarded answers', () => {
  const answer = { response: { data: { a: 1 }, raw: { contentType: 't', body: 'b' } }, place: { epoch: 1, index: 2 } }
  const valid = encodeForwardedAnswer(answer as never) as Record<string, unknown>
  expect(decodeForwardedAnswer(valid as never)).toEqual(answer)
  const bodies = fc.oneof(
    near(valid),
    mutated(valid.response as Uint8Array).map((response) => ({ ...valid, response })),
    near({ contentType: 't', body: 'b' }).map((raw) => ({ ...valid, raw })),
  )
  fc.assert(
    fc.property(bodies, (body) => {
      const decoded = tried(() => decodeForwardedAnswer(body as Plain))
      if (decoded === undefined) return
      expect(Number.isSafeInteger(decoded.place.index)).toBe(true)
      const { response } = decoded
      if (response !== undefined) expect(typeof response === 'object' && !Array.isArray(response)).toBe(true)
      if (response?.raw === undefined) return
      expect(typeof response.raw.contentType).toBe('string')
      expect(typeof response.raw.body === 'string' || response.raw.body instanceof Uint8Array).toBe(true)
    }),
    runs,
  )
})

test('handovers, their answers, and word of a rejoin', () => {
  const last = { epoch: 1, index: 2, digest: new Uint8Array(32) }
  const valid = encodeHandover({ last, waitMs: 10 }) as Record<string, unknown>
  expect(parseHandover(valid)).toEqual({ last, waitMs: 10 })
  fc.assert(
    fc.property(near(valid), (body) => {
      const parsed = tried(() => parseHandover(body))
      if (parsed !== undefined) expect(parsed.last.digest).toHaveLength(32)
    }),
    runs,
  )
  const answer = encodeHandoverAnswer({ complete: true, index: 3 }) as Record<string, unknown>
  fc.assert(
    fc.property(near(answer), (body) => {
      const { complete, index } = parseHandoverAnswer(body)
      expect(typeof complete).toBe('boolean')
      expect(Number.isSafeInteger(index) && index >= 0).toBe(true)
    }),
    runs,
  )
  fc.assert(
    fc.property(near({ ledEpoch: 4 }), (body) => {
      const epoch = tried(() => parseRejoined(body))
      if (epoch !== undefined) expect(Number.isSafeInteger(epoch) && epoch >= 0).toBe(true)
    }),
    runs,
  )
})

test('pages of what a secondary holds', async () => {
  const partitions = [['replicated/core', 3, new Uint8Array(32)]]
  const valid = { cursor: { epoch: 1, index: 2 }, view: 'v', partitions, more: false }
  expect(parseHeldPage(valid as never, '').partitions).toHaveLength(1)
  const items = fc.array(
    fc.oneof(plain, fc.tuple(fc.constantFrom('replicated/core', 'local/core', 'replicated/x', ''), plain, plain)),
    { maxLength: 4 },
  )
  const bodies = fc.oneof(
    near(valid),
    items.map((changed) => ({ ...valid, partitions: changed })),
  )
  fc.assert(
    fc.property(bodies, fc.constantFrom('', 'local/core', 'z'), (body, after) => {
      const page = tried(() => parseHeldPage(body as Plain, after))
      if (page === undefined) return
      let last: string = after
      for (const { id, keys, digest } of page.partitions) {
        expect(id > last).toBe(true)
        expect(Number.isSafeInteger(keys) && keys >= 0).toBe(true)
        expect(digest).toHaveLength(32)
        last = id
      }
      if (page.more) expect(page.partitions).not.toEqual([])
    }),
    runs,
  )
  const forest = { partitions: () => [], count: () => 0, root: () => new Uint8Array(32) }
  await fc.assert(
    fc.asyncProperty(near({ after: '' }), async (body) => {
      await answerInspect(body, 'dr', forest as never, () => ({ cursor: null, view: '' })).catch((error) =>
        expect(error).toBeInstanceOf(CoreError),
      )
    }),
    { numRuns: 100 },
  )
})

test('kept entries of a damaged set', () => {
  const entry: KeptEntry = {
    ...{ index: 1, key: 'k', operation: 'put', class: 'replicated', mount: 'm', mountPath: 'kv/' },
    value: Buffer.from('sealed'),
  }
  expect(decodeKept(entry, encodeKept(entry))).toEqual(entry)
  fc.assert(
    fc.property(fc.oneof(mutated(encodeKept(entry)), fc.uint8Array({ maxLength: 60 })), (bytes) => {
      tried(() => decodeKept(entry, bytes))
    }),
    runs,
  )
})
