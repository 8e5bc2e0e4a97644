import { randomBytes } from 'node:crypto'
import type { AuthGrant, BackendResponse, LeasedSecret } from '@lockstep/backend'
import { memoryStore, type Store } from '@lockstep/storage'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Lease, TokenEntry } from '../contracts.ts'
import type { ExpirationsOptions } from './expirations.ts'
import { leaseManager } from './lease-manager.ts'

const START = 1_800_000_000_000
const hour = 3600

const service = token('hvs.owner', { cubbyholeId: 'howner' })
const batch = token('hvb.x', { type: 'batch', cubbyholeId: '', parent: 'hvs.owner', orphan: false, ttl: 600 })

function token(id: string, more: Partial<TokenEntry> = {}): TokenEntry {
  return {
    id,
    accessor: 'acc',
    parent: '',
    policies: ['default'],
    path: 'auth/userpass/login/bob',
    meta: null,
    displayName: 'userpass-bob',
    numUses: 0,
    creationTime: START,
    ttl: hour,
    explicitMaxTtl: 0,
    period: 0,
    type: 'service',
    role: '',
    entityId: '',
    boundCidrs: [],
    renewable: true,
    orphan: true,
    cubbyholeId: `h${id}`,
    ...more,
  }
}

const secret = (more: Partial<LeasedSecret> = {}): LeasedSecret => ({
  ttl: hour,
  maxTtl: 0,
  renewable: true,
  internalData: { user: 'v-1' },
  ...more,
})

function world(storage: Store = memoryStore(), options: ExpirationsOptions = {}) {
  const revoked: string[] = []
  const tokensRevoked: string[] = []
  let failing: (lease: Lease) => boolean = () => false
  let renewal: BackendResponse | undefined
  const leases = leaseManager(
    {
      storage,
      clock: { now: () => Date.now() },
      log: { debug() {}, info() {}, warn() {}, error() {} },
      random: (bytes) => randomBytes(bytes),
      mountTtl: () => ({ default: 2 * hour, max: 10 * hour }),
      async revokeBackend(lease) {
        if (failing(lease)) throw new Error('database is down')
        revoked.push(lease.id)
      },
      renewBackend: async () => renewal,
      async revokeToken(lease) {
        tokensRevoked.push(lease.id)
      },
      lookupToken: (id) => [service, batch].find((entry) => entry.id === id),
    },
    options,
  )
  const issue = (path = 'db/creds/x', more: Partial<LeasedSecret> = {}, clientToken = service.id) =>
    leases.registerSecret({ path, clientToken, secret: secret(more), data: null })
  return {
    storage,
    leases,
    revoked,
    tokensRevoked,
    issue,
    fail: (when: (lease: Lease) => boolean) => {
      failing = when
    },
    renewWith: (response: BackendResponse) => {
      renewal = response
    },
  }
}

/** Lets pending storage work finish, then moves the clock. */
async function pass(seconds: number) {
  await vi.advanceTimersByTimeAsync(seconds * 1000)
  for (let round = 0; round < 20; round++) await new Promise((resolve) => setImmediate(resolve))
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

describe('secrets', () => {
  it('are leased under their path, listed, counted, looked up', async () => {
    const { leases, issue } = world()
    const lease = await issue()
    expect(lease.id).toMatch(/^db\/creds\/x\/[0-9A-Za-z]{24}$/)
    expect(lease).toMatchObject({ kind: 'secret', expireTime: START + hour * 1000, renewable: true, ttl: hour })
    expect(await leases.lookup(lease.id)).toMatchObject({ id: lease.id, internalData: { user: 'v-1' } })
    expect(await leases.list('')).toEqual(['db/'])
    expect(await leases.list('db/creds/x')).toEqual([lease.id.split('/')[3]])
    expect(leases.count()).toBe(1)
  })

  it('get the mount TTLs where the backend gives none', async () => {
    const { issue } = world()
    expect((await issue('a', { ttl: 0 })).expireTime).toBe(START + 2 * hour * 1000)
    const long = await issue('a', { ttl: 99 * hour })
    expect(long.expireTime).toBe(START + 10 * hour * 1000)
    expect((long as { warnings?: string[] }).warnings).toEqual([
      'TTL of "99h0m0s" exceeded the effective max_ttl of "10h0m0s"; TTL value is capped accordingly',
    ])
  })

  it('are revoked when they expire, not before', async () => {
    const { leases, issue, revoked } = world()
    const lease = await issue()
    await pass(hour - 1)
    expect(revoked).toEqual([])
    await pass(1)
    expect(revoked).toEqual([lease.id])
    expect(await leases.lookup(lease.id)).toBeUndefined()
    expect(leases.count()).toBe(0)
  })

  it('are renewed within their limits', async () => {
    const { leases, issue, revoked } = world()
    const lease = await issue('a', { maxTtl: 3 * hour })
    await pass(hour / 2)
    const renewed = await leases.renew(lease.id, 0)
    expect(renewed.lease.expireTime).toBe(START + 1.5 * hour * 1000)
    expect(renewed.lease.lastRenewal).toBe(START + 0.5 * hour * 1000)
    await pass(hour - 1)
    expect(revoked).toEqual([])
    const long = await leases.renew(lease.id, 5 * hour)
    expect(long.lease.expireTime).toBe(START + 3 * hour * 1000)
    expect(long.warnings).toEqual([
      'TTL of "5h0m0s" exceeded the effective max_ttl of "1h30m1s"; TTL value is capped accordingly',
    ])
    await pass(2 * hour)
    expect(revoked).toEqual([lease.id])
    expect(await refusal(leases.renew(lease.id, 0))).toBe('lease not found')
  })

  it('take what the backend says at renewal', async () => {
    const { leases, issue, renewWith } = world()
    const lease = await issue()
    const next = secret({ ttl: 60, renewable: false, internalData: { user: 'v-2' } })
    renewWith({ secret: next, data: { shown: true } })
    const { response } = await leases.renew(lease.id, 0)
    expect(response?.data).toEqual({ shown: true })
    const stored = await leases.lookup(lease.id)
    expect(stored).toMatchObject({ expireTime: START + 60_000, renewable: false, internalData: { user: 'v-2' } })
    expect(await refusal(leases.renew(lease.id, 0))).toBe('lease is not renewable')
  })

  it('are not renewed when they may not be', async () => {
    const { leases, issue } = world()
    expect(await refusal(leases.renew('nope/x', 0))).toBe('lease not found')
    expect(await refusal(leases.renew('', 0))).toBe('lease not found')
    const fixed = await issue('a', { renewable: false })
    expect(await refusal(leases.renew(fixed.id, 0))).toBe('lease is not renewable')
    leases.hold(true)
    const lease = await issue()
    await pass(hour)
    expect(await refusal(leases.renew(lease.id, 0))).toBe('lease expired')
  })

  it('of a batch token end with it and fall to its parent', async () => {
    const { leases, issue, revoked } = world()
    const lease = await issue('a', {}, batch.id)
    expect(lease).toMatchObject({ expireTime: START + 600_000, renewable: false })
    await leases.revokeByToken(service)
    expect(revoked).toEqual([lease.id])
  })

  it('are refused to an unknown token', async () => {
    const { issue, leases } = world()
    expect(await refusal(issue('a', {}, 'hvs.gone'))).toBe('permission denied')
    expect(leases.count()).toBe(0)
  })
})

describe('revocation', () => {
  it('by id, by token, by prefix', async () => {
    const { leases, issue, revoked, storage } = world()
    const [a, b, c] = [await issue('db/a'), await issue('db/b'), await issue('dbx')]
    await leases.revoke(a.id)
    expect(revoked).toEqual([a.id])
    await leases.revoke('no/such')
    await leases.revokePrefix('db', { force: false })
    expect(revoked).toEqual([a.id, b.id])
    await leases.revokeByToken(service)
    expect(revoked).toEqual([a.id, b.id, c.id])
    expect(await storage.list('sys/expire/')).toEqual([])
    await pass(2 * hour)
    expect(revoked).toHaveLength(3)
  })

  it('is repeated with growing pauses until it succeeds', async () => {
    const { leases, issue, revoked, fail } = world()
    const lease = await issue()
    fail(() => true)
    await leases.revoke(lease.id)
    expect((await leases.lookup(lease.id))?.expireTime).toBe(START)
    await pass(10)
    await pass(20)
    expect(revoked).toEqual([])
    fail(() => false)
    await pass(39)
    expect(revoked).toEqual([])
    await pass(1)
    expect(revoked).toEqual([lease.id])
    expect(leases.count()).toBe(0)
  })

  it('is given up in the end, and can be asked for again or forced', async () => {
    const { leases, issue, revoked, fail, storage } = world()
    const [first, second] = [await issue('a'), await issue('a')]
    fail(() => true)
    await pass(hour)
    await pass(1000)
    const marked = [first.id, second.id].sort().map((id) => ({ id, error: 'database is down' }))
    expect(await leases.irrevocable('a/')).toEqual(marked)
    await pass(10 * hour)

    const again = world(storage)
    await again.leases.restore()
    await pass(hour)
    expect(again.revoked).toEqual([])
    await again.leases.revoke(first.id)
    expect(again.revoked).toEqual([first.id])

    await leases.revokePrefix('a', { force: true })
    expect(await leases.lookup(second.id)).toBeUndefined()
    expect(revoked).toEqual([])
  })

  it('gives up on explicit revocation too, without locking the lease for good', async () => {
    const { leases, issue, fail, revoked } = world()
    const lease = await issue()
    fail(() => true)
    for (let attempt = 0; attempt < 6; attempt++) await leases.revoke(lease.id)
    expect(await leases.irrevocable()).toHaveLength(1)
    fail(() => false)
    await leases.revoke(lease.id)
    expect(revoked).toEqual([lease.id])
  })

  it('waits while held', async () => {
    const { leases, issue, revoked } = world(memoryStore(), { held: true })
    const [lease, other] = [await issue(), await issue('b', { ttl: 2 * hour })]
    await pass(3 * hour)
    expect(revoked).toEqual([])
    await leases.revoke(other.id)
    expect(revoked).toEqual([other.id])
    leases.hold(false)
    await pass(0)
    expect(revoked).toEqual([other.id, lease.id])
    const late = await issue()
    await pass(hour)
    expect(revoked).toContain(late.id)
  })

  it('happens once though many ask', async () => {
    const { leases, issue, revoked } = world()
    const lease = await issue()
    await Promise.all(Array.from({ length: 10 }, () => leases.revoke(lease.id)))
    expect(revoked).toEqual([lease.id])
    expect(leases.count()).toBe(0)
  })
})

describe('restoring', () => {
  it('revokes what expired meanwhile and waits for the rest', async () => {
    const before = world()
    const [soon, late] = [await before.issue('a', { ttl: 60 }), await before.issue('a', { ttl: hour })]
    before.leases.stop()
    await pass(600)
    expect(before.revoked).toEqual([])

    const after = world(before.storage)
    await after.leases.restore()
    expect(after.leases.count()).toBe(2)
    await pass(0)
    expect(after.revoked).toEqual([soon.id])
    await pass(hour)
    expect(after.revoked).toEqual([soon.id, late.id])
  })

  it('revokes every lease in time although memory holds few', async () => {
    const { leases, issue, revoked } = world(memoryStore(), { limit: 20 })
    const issued: Lease[] = []
    for (let index = 0; index < 100; index++) issued.push(await issue('a', { ttl: 600 + ((index * 37) % 100) * 60 }))
    expect(leases.count()).toBe(100)
    for (let minute = 0; minute < 120; minute++) {
      await pass(60)
      const due = issued.filter((lease) => lease.expireTime <= Date.now()).map((lease) => lease.id)
      expect([...revoked].sort()).toEqual(due.sort())
    }
    expect(revoked).toHaveLength(100)
  })

  it('looks again at a lease that changed behind its back', async () => {
    const { leases, issue, revoked, storage } = world()
    const lease = await issue()
    const key = `sys/expire/id/${lease.id}`
    const record = JSON.parse(Buffer.from((await storage.get(key))!).toString())
    await storage.put(key, Buffer.from(JSON.stringify({ ...record, e: START + 60_000 })))
    leases.invalidate(`id/${lease.id}`)
    await pass(1)
    expect(revoked).toEqual([])
    await pass(59)
    expect(revoked).toEqual([lease.id])
  })
})

describe('leases of tokens', () => {
  const grant = {
    displayName: 'bob',
    policies: ['dev'],
    metadata: { username: 'bob' },
    alias: 'bob',
    ttl: hour,
    maxTtl: 3 * hour,
    period: 0,
    explicitMaxTtl: 0,
    numUses: 0,
    renewable: true,
    tokenType: 'default' as const,
    noDefaultPolicy: true,
    boundCidrs: [],
    internalData: { secret: 'x' },
  }

  it('keep the grant for renewal and never the token', async () => {
    const { leases, storage } = world()
    const entry = token('hvs.login', { policies: ['default', 'dev'], meta: { username: 'bob' } })
    const lease = await leases.registerToken({ entry, auth: grant })
    expect(lease).toMatchObject({ id: 'auth/userpass/login/bob/hhvs.login', kind: 'auth', clientToken: 'hvs.login' })
    const raw = Buffer.from((await storage.get(`sys/expire/id/${lease.id}`))!).toString()
    expect(raw).not.toContain('"hvs.login"')

    let offered: AuthGrant | undefined
    const again = leaseManager({
      storage,
      clock: { now: () => Date.now() },
      log: { debug() {}, info() {}, warn() {}, error() {} },
      random: (bytes) => randomBytes(bytes),
      mountTtl: () => ({ default: hour, max: 10 * hour }),
      revokeBackend: async () => {},
      async renewBackend(renewed) {
        offered ??= renewed.auth
        return { auth: { ...renewed.auth!, ttl: 2 * hour, internalData: { secret: 'y' } } }
      },
      revokeToken: async () => {},
      lookupToken: () => undefined,
    })
    const reread = { ...entry }
    const result = await again.renewToken(reread, 0)
    expect(offered).toEqual(grant)
    expect(result.lease).toMatchObject({
      ttl: 2 * hour,
      expireTime: START + 2 * hour * 1000,
      internalData: { secret: 'y' },
    })
    expect(again.tokenLease(reread)).toBe(result.lease)
    await pass(2 * hour - 60)
    const last = await again.renewToken(reread, 5 * hour)
    expect(last.lease.expireTime).toBe(START + 3 * hour * 1000)
    expect(last.warnings).toEqual([
      'TTL of "5h0m0s" exceeded the effective max_ttl of "1h1m0s"; TTL value is capped accordingly',
    ])
  })

  it('expire into the revocation of the token', async () => {
    const { leases, tokensRevoked } = world()
    const entry = token('hvs.login')
    const lease = await leases.registerToken({ entry, auth: { ...grant, maxTtl: 0 } })
    await pass(hour / 2)
    await leases.renewToken(entry, 0)
    await pass(hour - 1)
    expect(tokensRevoked).toEqual([])
    await pass(1)
    expect(tokensRevoked).toEqual([lease.id])
    expect(await leases.lookup(lease.id)).toBeUndefined()
    expect(leases.count()).toBe(0)
  })

  it('refuse renewal in Vault’s words', async () => {
    const { leases } = world()
    expect(await refusal(leases.renewToken(token('hvs.root', { ttl: 0 }), 0))).toBe('lease is not renewable')
    expect(await refusal(leases.renewToken(token('hvs.lost'), 0))).toBe('lease not found')
    expect(await refusal(leases.renewToken(batch, 0))).toBe('batch tokens cannot be renewed')
    const entry = token('hvs.fixed', { renewable: false })
    const lease = await leases.registerToken({ entry, auth: grant })
    expect(await refusal(leases.renewToken(entry, 0))).toBe('lease is not renewable')
    expect(await refusal(leases.renew(lease.id, 0))).toBe('tokens cannot be renewed through this endpoint')
  })
})

describe('the manager', () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant('issue' as const), value: fc.integer({ min: 1, max: 5000 }) }),
    fc.record({ kind: fc.constant('renew' as const), value: fc.integer({ min: 1, max: 5000 }) }),
    fc.record({ kind: fc.constant('revoke' as const), value: fc.nat(20) }),
    fc.record({ kind: fc.constant('pass' as const), value: fc.integer({ min: 1, max: 4000 }) }),
    fc.record({ kind: fc.constant('restart' as const), value: fc.constant(0) }),
  )

  it('agrees with a model of leases over time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 30 }), fc.constantFrom(4, 1000), async (commands, limit) => {
        vi.setSystemTime(START)
        const storage = memoryStore()
        let now = world(storage, { limit })
        const revoked = new Set<string>()
        const model = new Map<string, { issued: number; expires: number }>()
        for (const { kind, value } of commands) {
          const ids = [...model.keys()]
          const id = ids[value % Math.max(1, ids.length)]
          if (kind === 'issue') {
            const lease = await now.issue('a', { ttl: value, maxTtl: 6000 })
            model.set(lease.id, { issued: Date.now(), expires: Date.now() + value * 1000 })
          } else if (kind === 'renew' && id !== undefined) {
            await now.leases.renew(id, value)
            const lease = model.get(id)!
            lease.expires = Math.min(Date.now() + value * 1000, lease.issued + 6_000_000)
          } else if (kind === 'revoke' && id !== undefined) {
            await now.leases.revoke(id)
            model.delete(id)
          } else if (kind === 'pass') {
            await pass(value)
            for (const [expired, { expires }] of model) if (expires <= Date.now()) model.delete(expired)
          } else if (kind === 'restart') {
            now.leases.stop()
            for (const gone of now.revoked) revoked.add(gone)
            now = world(storage, { limit })
            await now.leases.restore()
          }
          const left: string[] = []
          for await (const [key] of storage.scan({ prefix: 'sys/expire/id/' })) left.push(key.slice(14))
          expect(left).toEqual([...model.keys()].sort())
          expect(now.leases.count()).toBe(model.size)
        }
        now.leases.stop()
      }),
      { numRuns: process.env.SLOW ? 2000 : 60 },
    )
  })
})
