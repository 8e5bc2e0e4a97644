import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { memoryStore, type Store } from '@lockstep/storage'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { NewToken, TokenEntry } from '../contracts.ts'
import { type HoldableLeaseManager, leaseManager } from '../leases/lease-manager.ts'
import { tokenStore } from './token-store.ts'

const START = 1_800_000_000_000
const hour = 3600
const log = { debug() {}, info() {}, warn() {}, error() {} }
const key = randomBytes(32)

function sealBatch(plaintext: Uint8Array): Uint8Array {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function openBatch(sealed: Uint8Array): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12))
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

function world(storage: Store = memoryStore(), options: { cacheSize?: number } = {}) {
  const secretsRevoked: string[] = []
  const cubbyholes: string[] = []
  const clock = { now: () => Date.now() }
  const random = (bytes: number) => randomBytes(bytes)
  const leases: HoldableLeaseManager = leaseManager({
    storage,
    clock,
    log,
    random,
    mountTtl: () => ({ default: 768 * hour, max: 768 * hour }),
    async revokeBackend(lease) {
      secretsRevoked.push(lease.id)
    },
    renewBackend: async () => undefined,
    revokeToken: (lease) => tokens.revokeLease(lease),
    lookupToken: (id) => tokens.lookup(id),
  })
  const tokens = tokenStore(
    {
      storage,
      leases,
      clock,
      log,
      random,
      sealBatch,
      openBatch,
      async destroyCubbyhole(name) {
        cubbyholes.push(name)
      },
    },
    options,
  )
  const create = (more: Partial<NewToken> = {}) =>
    tokens.create({ policies: ['default'], path: 'auth/token/create', ttl: hour, ...more })
  const secretOf = (entry: TokenEntry) =>
    leases.registerSecret({
      path: 'db/creds/x',
      clientToken: entry.id,
      secret: { ttl: 2 * hour, maxTtl: 0, renewable: true, internalData: {} },
      data: null,
    })
  return { storage, leases, tokens, create, secretOf, secretsRevoked, cubbyholes }
}

async function pass(seconds: number) {
  await vi.advanceTimersByTimeAsync(seconds * 1000)
  for (let round = 0; round < 30; round++) await new Promise((resolve) => setImmediate(resolve))
}

async function keys(storage: Store): Promise<string[]> {
  const all: string[] = []
  for await (const [name] of storage.scan({ prefix: 'sys/' })) all.push(name)
  return all
}

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error) => error.message,
  )

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: START })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('service tokens', () => {
  it('are found at once, after a restart too, by id and by accessor', async () => {
    const { tokens, create, storage } = world()
    const entry = await create({ meta: { a: 'b' }, displayName: 'token-x', explicitMaxTtl: 2 * hour })
    expect(entry.id).toMatch(/^hvs\.[0-9A-Za-z]{24}$/)
    expect(entry.accessor).toMatch(/^[0-9A-Za-z]{24}$/)
    expect(tokens.lookup(entry.id)).toBe(entry)

    const after = world(storage).tokens
    expect(await after.lookup(entry.id)).toEqual(entry)
    const again = world(storage).tokens
    const byAccessor = await again.lookupAccessor(entry.accessor)
    expect(byAccessor).toEqual(entry)
    expect(again.lookup(entry.id)).toBe(byAccessor)
    expect(await again.accessors()).toEqual([entry.accessor])
  })

  it('leave neither id nor accessor in storage keys, and three short records at most', async () => {
    const { create, storage } = world()
    const parent = await create()
    const child = await create({ parent: parent.id })
    const all = await keys(storage)
    expect(all.filter((name) => name.includes(child.cubbyholeId))).toHaveLength(3)
    expect(all.filter((name) => name !== 'sys/token/salt')).toHaveLength(5)
    for (const secret of [parent.id, parent.accessor, child.id, child.accessor]) {
      expect(all.join().includes(secret)).toBe(false)
    }
    const record = await storage.get(`sys/token/id/${child.cubbyholeId}`)
    expect(record!.length).toBeLessThan(200)
  })

  it('are unknown when they are', async () => {
    const { tokens, create } = world()
    const { id, accessor } = await create()
    const wrong = `${id.slice(0, -1)}${id.endsWith('A') ? 'B' : 'A'}`
    for (const unknown of ['', 'x', 'hvs.', 'hvb.', 'hvb.AAAA', 'hvb.!', wrong, 'x'.repeat(2000), accessor]) {
      expect([unknown, await tokens.lookup(unknown)]).toEqual([unknown, undefined])
    }
    for (const unknown of ['', 'x', id, accessor.slice(1)]) expect(await tokens.lookupAccessor(unknown)).toBeUndefined()
  })

  it('end with their lease to the millisecond, and leave nothing behind', async () => {
    const { tokens, create, storage, leases, cubbyholes } = world()
    const entry = await create()
    leases.hold(true)
    await pass(hour - 1)
    expect(tokens.lookup(entry.id)).toBe(entry)
    vi.setSystemTime(START + hour * 1000 - 1)
    expect(tokens.lookup(entry.id)).toBe(entry)
    vi.setSystemTime(START + hour * 1000)
    expect(await tokens.lookup(entry.id)).toBeUndefined()
    expect(await tokens.lookupAccessor(entry.accessor)).toBeUndefined()
    leases.hold(false)
    await pass(0)
    expect(await keys(storage)).toEqual(['sys/token/salt'])
    expect(cubbyholes).toEqual([entry.cubbyholeId])
    expect(leases.count()).toBe(0)
  })

  it('live on when renewed, in memory and on disk', async () => {
    const { tokens, create, leases, storage } = world()
    const entry = await create()
    await pass(hour / 2)
    await leases.renewToken(entry, 0)
    await pass(hour / 2 + 60)
    expect(tokens.lookup(entry.id)).toBe(entry)
    expect(await world(storage).tokens.lookup(entry.id)).toEqual(entry)
    await pass(hour)
    expect(await tokens.lookup(entry.id)).toBeUndefined()
  })

  it('live on when the renewed object had left the cache', async () => {
    const { tokens, create, leases } = world(memoryStore(), { cacheSize: 2 })
    const entry = await create()
    for (let index = 0; index < 10; index++) await create()
    const reread = await tokens.lookup(entry.id)
    expect(reread).not.toBe(entry)
    await leases.renewToken(entry, 3 * hour)
    await pass(2 * hour)
    expect(await tokens.lookup(entry.id)).toEqual(entry)
  })

  it('that are root may live forever, others not', async () => {
    const { tokens, create, leases } = world()
    const root = await create({ policies: ['root'], ttl: 0 })
    expect(root.renewable).toBe(false)
    await pass(10_000 * hour)
    expect(tokens.lookup(root.id)).toBe(root)
    expect(leases.count()).toBe(0)
    expect(await refusal(create({ ttl: 0 }))).toContain('needs a TTL')
    expect(await refusal(create({ ttl: 0, policies: ['root'], type: 'batch' }))).toContain('needs a TTL')
  })

  it('may be given an id, once', async () => {
    const { tokens, create } = world()
    const entry = await create({ id: 's.custom', policies: ['root'], ttl: 0 })
    expect(tokens.lookup('s.custom')).toBe(entry)
    expect(await refusal(create({ id: 's.custom' }))).toBe('cannot create a token with a duplicate ID')
    expect(await refusal(create({ id: 'hvb.custom' }))).toBe('cannot create a token with a duplicate ID')
    const both = await Promise.all([refusal(create({ id: 'twin' })), refusal(create({ id: 'twin' }))])
    expect(both.sort()).toEqual(['cannot create a token with a duplicate ID', 'done'])
  })

  it('need a living parent that can have children', async () => {
    const { create, tokens } = world()
    const parent = await create()
    const batch = await create({ type: 'batch' })
    await tokens.revoke(parent.id)
    expect(await refusal(create({ parent: parent.id }))).toBe('parent token lookup failed: no parent found')
    expect(await refusal(create({ parent: 'hvs.none' }))).toBe('parent token lookup failed: no parent found')
    expect(await refusal(create({ parent: batch.id }))).toBe('batch tokens cannot create more tokens')
  })

  it('join a transaction of the caller', async () => {
    const { tokens, create, storage } = world()
    await create()
    const before = await keys(storage)
    const aborted = await storage.begin()
    const lost = await tokens.create({ policies: ['a'], path: 'p', ttl: 60 }, { transaction: aborted })
    await aborted.abort()
    expect(await tokens.lookup(lost.id)).toBeUndefined()
    expect(await keys(storage)).toEqual(before)
    const committed = await storage.begin()
    const kept = await tokens.create({ policies: ['a'], path: 'p', ttl: 60 }, { transaction: committed })
    await committed.commit()
    expect(await tokens.lookup(kept.id)).toEqual(kept)
    await pass(60)
    expect(await keys(storage)).toEqual(before)
  })
})

describe('limited uses', () => {
  it('count down, on disk too, to nothing', async () => {
    const { tokens, create, storage } = world()
    const entry = await create({ numUses: 3 })
    expect(await tokens.consumeUse(entry)).toEqual({ last: false })
    expect(entry.numUses).toBe(2)
    const after = world(storage).tokens
    const reread = (await after.lookup(entry.id))!
    expect(reread.numUses).toBe(2)
    expect(await after.consumeUse(reread)).toEqual({ last: false })
    expect(await after.consumeUse(reread)).toEqual({ last: true })
    expect(await after.lookup(entry.id)).toBeUndefined()
    expect(await refusal(after.consumeUse(reread))).toBe('permission denied')
    expect(await world(storage).tokens.lookup(entry.id)).toBeUndefined()
  })

  it('of one let one of twenty through', async () => {
    const { tokens, create, storage } = world()
    const { id } = await create({ numUses: 1 })
    for (const store of [tokens, world(storage).tokens]) {
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const entry = await store.lookup(id)
          return entry === undefined ? 'unknown' : refusal(store.consumeUse(entry))
        }),
      )
      const done = outcomes.filter((outcome) => outcome === 'done')
      expect(done).toHaveLength(store === tokens ? 1 : 0)
    }
  })

  it('of seven let seven of fifty through, from two stale objects', async () => {
    const { tokens, create } = world(memoryStore(), { cacheSize: 2 })
    const first = await create({ numUses: 7 })
    for (let index = 0; index < 10; index++) await create()
    const second = (await tokens.lookup(first.id))!
    expect(second).not.toBe(first)
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, index) => refusal(tokens.consumeUse(index % 2 ? first : second))),
    )
    expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(7)
  })

  it('do not concern other tokens', async () => {
    const { tokens, create } = world()
    expect(await tokens.consumeUse(await create())).toEqual({ last: false })
  })
})

describe('revocation', () => {
  it('takes children, secrets and cubbyholes with it', async () => {
    const { tokens, create, secretOf, secretsRevoked, cubbyholes, storage, leases } = world()
    const parent = await create()
    const child = await create({ parent: parent.id })
    const grandchild = await create({ parent: child.id })
    const other = await create()
    const [a, b] = [await secretOf(parent), await secretOf(grandchild)]
    await tokens.revoke(parent.id)
    for (const gone of [parent, child, grandchild]) expect(await tokens.lookup(gone.id)).toBeUndefined()
    expect(tokens.lookup(other.id)).toBe(other)
    expect([...secretsRevoked].sort()).toEqual([a.id, b.id].sort())
    expect([...cubbyholes].sort()).toEqual([parent, child, grandchild].map((entry) => entry.cubbyholeId).sort())
    await tokens.revoke(other.id)
    expect(await keys(storage)).toEqual(['sys/token/salt'])
    expect(leases.count()).toBe(0)
  })

  it('may spare the children, who become orphans', async () => {
    const { tokens, create, storage } = world()
    const parent = await create()
    const child = await create({ parent: parent.id })
    const grandchild = await create({ parent: child.id })
    await tokens.revokeOrphan(parent.id)
    expect(await tokens.lookup(parent.id)).toBeUndefined()
    expect(tokens.lookup(child.id)).toMatchObject({ parent: '', orphan: true })
    expect(await world(storage).tokens.lookup(child.id)).toMatchObject({ parent: '', orphan: true })
    expect(await tokens.lookup(grandchild.id)).toMatchObject({ parent: child.id })
    await tokens.revoke(child.id)
    expect(await tokens.lookup(grandchild.id)).toBeUndefined()
    expect(await keys(storage)).toEqual(['sys/token/salt'])
  })

  it('is in force from the moment it begins', async () => {
    const { tokens, create } = world()
    const entry = await create()
    await tokens.lookup('warm up the salt')
    const revocation = tokens.revoke(entry.id)
    await Promise.resolve()
    expect(await tokens.lookup(entry.id)).toBeUndefined()
    await revocation
  })

  it('lets no child slip through', async () => {
    const { tokens, create, storage } = world()
    for (let round = 0; round < 20; round++) {
      const parent = await create()
      const births = Array.from({ length: 8 }, () => refusal(create({ parent: parent.id })))
      for (let step = 0; step < round; step++) await Promise.resolve()
      await tokens.revoke(parent.id)
      await Promise.all(births)
      expect(await keys(storage)).toEqual(['sys/token/salt'])
    }
  })

  it('is not undone by a lookup that was reading', async () => {
    const { create, storage } = world()
    const { id } = await create()
    const inner = storage
    let hold = Promise.resolve()
    const slow = new Proxy(inner, {
      get(target, property) {
        if (property === 'get') {
          return async (name: string) => {
            const value = await target.get(name)
            if (name.includes('/id/')) await hold
            return value
          }
        }
        const member = Reflect.get(target, property, target)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
    const { tokens } = world(slow)
    let release = () => {}
    hold = new Promise((resolve) => {
      release = resolve
    })
    const early = tokens.lookup(id)
    await new Promise((resolve) => setImmediate(resolve))
    const revocation = tokens.revoke(id)
    await new Promise((resolve) => setImmediate(resolve))
    release()
    hold = Promise.resolve()
    await revocation
    expect(await early).toBeUndefined()
    expect(await tokens.lookup(id)).toBeUndefined()
  })

  it('of what is not there does nothing', async () => {
    const { tokens } = world()
    await tokens.revoke('hvs.none')
    await tokens.revoke('')
    await tokens.revokeOrphan('hvb.x')
  })
})

describe('batch tokens', () => {
  it('are stored nowhere and known wherever the keyring is', async () => {
    const { tokens, create, storage } = world()
    const entry = await create({ type: 'batch', policies: ['a', 'b'], meta: { x: 'y' }, entityId: 'e', ttl: 60 })
    expect(entry.id).toMatch(/^hvb\.[0-9A-Za-z_-]+$/)
    expect(entry).toMatchObject({ accessor: '', cubbyholeId: '', renewable: false, orphan: true })
    expect(await keys(storage)).toEqual([])
    const elsewhere = world().tokens
    expect(await elsewhere.lookup(entry.id)).toEqual(entry)
    expect(await tokens.consumeUse(entry)).toEqual({ last: false })
    await pass(60)
    expect(await elsewhere.lookup(entry.id)).toBeUndefined()
    expect(await tokens.lookup(entry.id)).toBeUndefined()
  })

  it('cannot be altered', async () => {
    const { create } = world()
    const { id } = await create({ type: 'batch', ttl: 60 })
    const sealed = Buffer.from(id.slice(4), 'base64url')
    for (let position = 0; position < sealed.length; position += 7) {
      const forged = Buffer.from(sealed)
      forged[position]! ^= 1
      expect(await world().tokens.lookup(`hvb.${forged.toString('base64url')}`)).toBeUndefined()
    }
  })

  it('die with their parent', async () => {
    const { tokens, create, secretOf, secretsRevoked } = world()
    const parent = await create()
    const child = await create({ type: 'batch', parent: parent.id })
    expect(await tokens.lookup(child.id)).toEqual(child)
    const secret = await secretOf(child)
    expect(await world().tokens.lookup(child.id)).toBeUndefined()
    await tokens.revoke(parent.id)
    expect(await tokens.lookup(child.id)).toBeUndefined()
    expect(secretsRevoked).toEqual([secret.id])
  })
})

describe('upkeep', () => {
  it('forgets what replication changed', async () => {
    const { tokens, create, storage } = world()
    const entry = await create()
    await storage.delete(`sys/token/id/${entry.cubbyholeId}`)
    expect(tokens.lookup(entry.id)).toBe(entry)
    tokens.invalidate(`id/${entry.cubbyholeId}`)
    expect(await tokens.lookup(entry.id)).toBeUndefined()

    const other = await create()
    await storage.put('sys/token/salt', randomBytes(32))
    tokens.invalidate('salt')
    expect(await tokens.lookup(other.id)).toBeUndefined()
  })

  it('tidies what interrupted work left', async () => {
    const { tokens, create, storage } = world()
    const parent = await create()
    const child = await create({ parent: parent.id })
    const lost = await create()
    await storage.put(`sys/token/parent/${parent.cubbyholeId}/hnobody`, new Uint8Array([1]))
    await storage.delete(`sys/expire/id/auth/token/create/${lost.cubbyholeId}`)
    const after = world(storage).tokens
    expect(await after.lookup(lost.id)).toBeUndefined()
    await after.tidy()
    const names = (await keys(storage)).join()
    expect(names).not.toContain('hnobody')
    expect(names).not.toContain(lost.cubbyholeId)
    expect(await after.lookup(child.id)).toEqual(child)
    expect(await tokens.lookup(parent.id)).toEqual(parent)
  })

  it('makes one salt, whoever comes first', async () => {
    const { storage } = world()
    const made = await Promise.all(Array.from({ length: 5 }, () => world(storage).create()))
    const { tokens } = world(storage)
    for (const entry of made) expect(await tokens.lookup(entry.id)).toEqual(entry)
  })
})

describe('the store', () => {
  const command = fc.record({
    kind: fc.constantFrom('create', 'create', 'create', 'orphan', 'revoke', 'revokeOrphan', 'pass', 'restart', 'renew'),
    who: fc.nat(30),
    value: fc.integer({ min: 60, max: 5000 }),
  })

  it('agrees with a model of token trees', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 30 }), fc.constantFrom(3, 1000), async (commands, cacheSize) => {
        vi.setSystemTime(START)
        let now = world(memoryStore(), { cacheSize })
        const model = new Map<string, { parent: string; expires: number }>()
        const all: string[] = []
        const kill = (id: string) => {
          model.delete(id)
          for (const [child, { parent }] of [...model]) if (parent === id) kill(child)
        }
        for (const { kind, who, value } of commands) {
          const living = [...model.keys()]
          const id = living[who % Math.max(1, living.length)]
          if (kind === 'create' || kind === 'orphan') {
            const parent = kind === 'create' && id !== undefined ? id : ''
            const entry = await now.create({ parent, ttl: value })
            model.set(entry.id, { parent, expires: Date.now() + value * 1000 })
            all.push(entry.id)
          } else if (kind === 'pass') {
            await pass(value)
            for (const [expired, { expires }] of [...model]) if (expires <= Date.now()) kill(expired)
          } else if (kind === 'restart') {
            now.leases.stop()
            now = world(now.storage, { cacheSize })
            await now.leases.restore()
          } else if (id !== undefined && kind === 'revoke') {
            await now.tokens.revoke(id)
            kill(id)
          } else if (id !== undefined && kind === 'revokeOrphan') {
            await now.tokens.revokeOrphan(id)
            model.delete(id)
            for (const token of model.values()) if (token.parent === id) token.parent = ''
          } else if (id !== undefined && kind === 'renew') {
            await now.leases.renewToken((await now.tokens.lookup(id))!, value)
            model.get(id)!.expires = Date.now() + value * 1000
          }
          for (const token of all) {
            const entry = await now.tokens.lookup(token)
            const expected = model.get(token)
            expect(entry && { id: entry.id, parent: entry.parent, orphan: entry.orphan }).toEqual(
              expected && { id: token, parent: expected.parent, orphan: expected.parent === '' },
            )
          }
        }
        expect((await now.tokens.accessors()).length).toBe(model.size)
        expect(now.leases.count()).toBe(model.size)
        for (const token of model.keys()) await now.tokens.revoke(token)
        expect((await keys(now.storage)).filter((name) => name !== 'sys/token/salt')).toEqual([])
        now.leases.stop()
      }),
      { numRuns: process.env.SLOW ? 1000 : 40 },
    )
  })
})
