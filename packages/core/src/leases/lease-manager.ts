/**
 * Leases of secrets and of tokens: one record each, expiry by a single timer, renewal under the TTL rules, revocation that is
 * repeated until it succeeds or is given up. A lease is only forgotten after its secret or token is gone.
 */
import type { AuthGrant, BackendResponse } from '@lockstep/backend'
import type { Store, Transaction } from '@lockstep/storage'
import { type Clock, CoreError, type Lease, type LeaseManager, type Log, type TokenEntry } from '../contracts.ts'
import { randomBase62 } from '../token/base62.ts'
import { type ExpirationsOptions, expirations, type Timers } from './expirations.ts'
import { fullGrant, grantDifference, type StoredLease } from './lease-record.ts'
import { leaseRecords } from './lease-records.ts'
import { inParallel } from './parallel.ts'
import { grantedTtl } from './ttl.ts'
import { turnTaking } from './turn-taking.ts'

export interface LeaseManagerComponents {
  /** The whole barrier store; leases live at `sys/expire/`. */
  storage: Store
  clock: Clock
  log: Log
  random(bytes: number): Uint8Array
  timers?: Timers
  /** The effective TTLs, in seconds, of the mount that serves a path. */
  mountTtl(path: string): { default: number; max: number }
  /** Lets the mount's backend revoke a secret. Rejects when it failed and should be tried again. */
  revokeBackend(lease: Lease): Promise<void>
  /** Lets the mount's backend renew a secret, or a login (`lease.auth` is set). */
  renewBackend(lease: Lease, increment: number): Promise<BackendResponse | undefined>
  /** Removes the token whose own lease this is, with all that hangs on it. The last segment of the id is the token's name. */
  revokeToken(lease: Lease): Promise<void>
  /** `TokenStore.lookup`. */
  lookupToken(id: string): Promise<TokenEntry | undefined> | TokenEntry | undefined
}

/** What the token store uses beyond the public contract. */
export interface TokenLeases extends Pick<LeaseManager, 'registerToken' | 'tokenLease' | 'revokeByToken'> {
  /** Removes the token's own lease record in the transaction that removes the token. Call the result once it is committed. */
  dropToken(entry: TokenEntry, transaction: Transaction): Promise<() => void>
}

export interface HoldableLeaseManager extends LeaseManager, TokenLeases {
  /** While on, nothing is revoked for having expired (explicit revocation still works): for a cluster just promoted or restored. */
  hold(on: boolean): void
  /** How many leases are past their time and not given up; reads them all. */
  expired(): Promise<number>
  /** Leases whose revocation was given up, with the last error. */
  irrevocable(prefix?: string): Promise<{ id: string; error: string }[]>
}

const ID_LENGTH = 24

export function leaseManager(
  components: LeaseManagerComponents,
  options: ExpirationsOptions = {},
): HoldableLeaseManager {
  const { clock, log } = components
  const records = leaseRecords(components.storage)
  const inTurn = turnTaking()
  /** The leases of live tokens: what is read here is what renewal changes. */
  const tokenLeases = new WeakMap<TokenEntry, StoredLease>()
  let total = 0
  const schedule = expirations(
    { clock, log, timers: components.timers ?? systemTimers, expire, giveUp, reload: () => loadAll(false) },
    options,
  )

  function tokenLeaseId(entry: TokenEntry): string {
    return `${entry.path}/${entry.cubbyholeId}`
  }

  /** Who revokes the secrets of a batch token: its parent, for it has no revocation of its own. */
  async function ownerName(entry: TokenEntry): Promise<string> {
    if (entry.type === 'service') return entry.cubbyholeId
    const parent = entry.parent === '' ? undefined : await components.lookupToken(entry.parent)
    return parent?.cubbyholeId ?? ''
  }

  async function expire(id: string): Promise<void> {
    await inTurn(id, async () => {
      const stored = await records.read(id)
      if (stored === undefined || stored.irrevocable !== undefined || stored.lease.expireTime === 0) return
      if (stored.lease.expireTime > clock.now()) schedule.schedule(id, stored.lease.expireTime)
      else await remove(stored)
    })
  }

  /** Revokes at the source first, then forgets the lease. */
  async function remove(stored: StoredLease): Promise<void> {
    const { lease } = stored
    if (lease.kind === 'auth') {
      await components.revokeToken(lease)
      // The token store deletes the record with the token; this is for a lease that outlived its token.
      if ((await records.read(lease.id)) === undefined) return
    } else {
      await components.revokeBackend(lease)
    }
    await forget(stored)
  }

  async function forget(stored: StoredLease): Promise<void> {
    await records.delete(stored)
    schedule.forget(stored.lease.id)
    total--
  }

  /** A revocation that must come to pass: now if possible, else over and over, from disk even after a restart. */
  async function revokeForSure(id: string): Promise<void> {
    const failure = await inTurn(id, async () => {
      const stored = await records.read(id)
      if (stored === undefined) return undefined
      try {
        return await remove(stored)
      } catch (error) {
        const { lease } = stored
        lease.expireTime = Math.min(clock.now(), lease.expireTime || clock.now())
        await records.write({ ...stored, irrevocable: undefined })
        return { error }
      }
    })
    if (failure !== undefined) await schedule.retry(id, failure.error)
  }

  async function revokeByForce(id: string): Promise<void> {
    await inTurn(id, async () => {
      const stored = await records.read(id)
      if (stored === undefined) return
      try {
        await remove(stored)
      } catch (error) {
        log.warn('lease forgotten although its revocation failed', { lease_id: id, error: (error as Error).message })
        await forget(stored)
      }
    })
  }

  async function giveUp(id: string, error: unknown): Promise<void> {
    await inTurn(id, async () => {
      const stored = await records.read(id)
      if (stored !== undefined)
        await records.write({ ...stored, irrevocable: String((error as Error).message ?? error) })
    })
  }

  async function loadAll(counting: boolean): Promise<void> {
    for await (const { lease, irrevocable } of records.all()) {
      if (counting) total++
      if (lease.expireTime !== 0 && irrevocable === undefined) schedule.schedule(lease.id, lease.expireTime)
    }
  }

  function assertRenewable(lease: Lease): void {
    const refusal = lease.expireTime === 0 || !lease.renewable ? 'lease is not renewable' : undefined
    if (refusal !== undefined) throw new CoreError('CORE_INVALID_REQUEST', refusal)
    if (lease.expireTime <= clock.now()) throw new CoreError('CORE_INVALID_REQUEST', 'lease expired')
  }

  async function storedTokenLease(entry: TokenEntry): Promise<StoredLease | undefined> {
    const known = tokenLeases.get(entry)
    if (known !== undefined) return known
    if (entry.type === 'batch') return undefined
    const stored = await records.read(tokenLeaseId(entry))
    if (stored === undefined || stored.lease.kind !== 'auth') return undefined
    stored.lease.clientToken = entry.id
    tokenLeases.set(entry, stored)
    return stored
  }

  return {
    async registerSecret({ path, clientToken, secret }) {
      const now = clock.now()
      const mount = components.mountTtl(path)
      const rules = { increment: 0, ttl: secret.ttl, maxTtl: secret.maxTtl, explicitMaxTtl: 0, period: 0 }
      const { ttl, warnings } = grantedTtl({ ...rules, mount, issueTime: now, now })
      const token = await components.lookupToken(clientToken)
      if (token === undefined) throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
      const lease: Lease = {
        id: `${path}/${randomBase62(components.random, ID_LENGTH)}`,
        path,
        kind: 'secret',
        clientToken,
        issueTime: now,
        expireTime: endWithToken(now + ttl * 1000, token),
        lastRenewal: 0,
        renewable: secret.renewable && token.type === 'service',
        internalData: secret.internalData,
        ttl: secret.ttl > 0 ? secret.ttl : ttl,
        maxTtl: secret.maxTtl,
      }
      const owner = await ownerName(token)
      await records.writeOwned({ lease, grant: undefined, irrevocable: undefined, owner })
      total++
      schedule.schedule(lease.id, lease.expireTime)
      return { ...lease, warnings }
    },

    async registerToken({ entry, auth, transaction }) {
      const lease: Lease = {
        id: tokenLeaseId(entry),
        path: entry.path,
        kind: 'auth',
        clientToken: entry.id,
        issueTime: entry.creationTime,
        expireTime: entry.creationTime + entry.ttl * 1000,
        lastRenewal: 0,
        renewable: entry.renewable,
        internalData: auth.internalData,
        ttl: entry.ttl,
        maxTtl: auth.maxTtl,
      }
      const stored: StoredLease = { lease, grant: grantDifference(entry, auth), irrevocable: undefined, owner: '' }
      await records.write(stored, transaction)
      tokenLeases.set(entry, stored)
      total++
      // Should the transaction fail, the timer finds no record and the entry goes away by itself.
      schedule.schedule(lease.id, lease.expireTime)
      return lease
    },

    tokenLease(entry) {
      return tokenLeases.get(entry)?.lease ?? storedTokenLease(entry).then((stored) => stored?.lease)
    },

    async lookup(leaseId) {
      return (await records.read(leaseId))?.lease
    },

    async renew(leaseId, increment) {
      return inTurn(leaseId, async () => {
        const stored = await records.read(leaseId)
        if (stored === undefined) throw new CoreError('CORE_INVALID_REQUEST', 'lease not found')
        const { lease } = stored
        if (lease.kind === 'auth') {
          throw new CoreError('CORE_INVALID_REQUEST', 'tokens cannot be renewed through this endpoint')
        }
        assertRenewable(lease)
        const token = await components.lookupToken(lease.clientToken)
        if (token === undefined) throw new CoreError('CORE_INVALID_REQUEST', 'lease not found')
        const response = await components.renewBackend(lease, increment)
        const secret = response?.secret ?? lease
        const now = clock.now()
        const mount = components.mountTtl(lease.path)
        const rules = { increment, ttl: secret.ttl, maxTtl: secret.maxTtl, explicitMaxTtl: 0, period: 0 }
        const { ttl, warnings } = grantedTtl({ ...rules, mount, issueTime: lease.issueTime, now })
        const renewed: Lease = {
          ...lease,
          expireTime: endWithToken(now + ttl * 1000, token),
          lastRenewal: now,
          renewable: secret.renewable,
          internalData: secret.internalData,
          ttl: secret.ttl,
          maxTtl: secret.maxTtl,
        }
        await records.write({ ...stored, lease: renewed })
        schedule.schedule(leaseId, renewed.expireTime)
        return { lease: renewed, response, warnings }
      })
    },

    async renewToken(entry, increment) {
      if (entry.type === 'batch') throw new CoreError('CORE_INVALID_REQUEST', 'batch tokens cannot be renewed')
      return inTurn(tokenLeaseId(entry), async () => {
        const stored = await storedTokenLease(entry)
        if (stored === undefined) {
          throw new CoreError('CORE_INVALID_REQUEST', entry.ttl === 0 ? 'lease is not renewable' : 'lease not found')
        }
        const { lease } = stored
        assertRenewable(lease)
        const issued: AuthGrant = fullGrant(entry, stored)
        const response = await components.renewBackend({ ...lease, auth: issued }, increment)
        const grant = response?.auth ?? issued
        const now = clock.now()
        const mount = components.mountTtl(lease.path)
        const { ttl, warnings } = grantedTtl({ ...grant, increment, mount, issueTime: lease.issueTime, now })
        const renewed: Lease = {
          ...lease,
          expireTime: now + ttl * 1000,
          lastRenewal: now,
          renewable: grant.renewable,
          internalData: grant.internalData,
          ttl,
          maxTtl: grant.maxTtl,
        }
        const difference = grantDifference(entry, grant)
        await records.write({ ...stored, lease: renewed, grant: difference })
        // In place: the token store judges a token's life by this object.
        Object.assign(lease, renewed)
        stored.grant = difference
        schedule.schedule(lease.id, lease.expireTime)
        return { lease, warnings }
      })
    },

    revoke: revokeForSure,

    async revokePrefix(prefix, { force }) {
      const revokeOne = force ? revokeByForce : revokeForSure
      if (!prefix.endsWith('/') && (await records.read(prefix)) !== undefined) return revokeOne(prefix)
      const ids: string[] = []
      for await (const id of records.ids(prefix.endsWith('/') ? prefix : `${prefix}/`)) ids.push(id)
      await inParallel(ids, revokeOne)
    },

    async revokeByToken(entry) {
      const name = entry.cubbyholeId
      if (name === '') return
      await inParallel(await records.ownedBy(name), revokeForSure)
    },

    async dropToken(entry, transaction) {
      if (entry.ttl === 0) return () => {}
      const id = tokenLeaseId(entry)
      await records.deleteWithin(transaction, id)
      return () => {
        tokenLeases.delete(entry)
        schedule.forget(id)
        total--
      }
    },

    list: (prefix) => records.children(prefix),
    count: () => total,

    async restore() {
      total = 0
      await loadAll(true)
    },

    async irrevocable(prefix = '') {
      const found: { id: string; error: string }[] = []
      for await (const { lease, irrevocable } of records.all()) {
        if (irrevocable !== undefined && lease.id.startsWith(prefix)) found.push({ id: lease.id, error: irrevocable })
      }
      return found
    },

    hold: (on) => schedule.hold(on),

    async expired() {
      const now = clock.now()
      let count = 0
      for await (const { lease, irrevocable } of records.all()) {
        if (irrevocable === undefined && lease.expireTime !== 0 && lease.expireTime <= now) count++
      }
      return count
    },

    stop: () => schedule.stop(),

    invalidate(key) {
      // Its time may have moved either way: look at once.
      if (key.startsWith('id/')) schedule.schedule(key.slice(3), clock.now())
    },
  }
}

/** What a batch token leases ends with it, for nobody can revoke it later. */
function endWithToken(expireTime: number, token: TokenEntry): number {
  return token.type === 'batch' ? Math.min(expireTime, token.creationTime + token.ttl * 1000) : expireTime
}

const systemTimers: Timers = {
  set: (callback, milliseconds) => setTimeout(callback, milliseconds).unref(),
  clear: (handle) => clearTimeout(handle as NodeJS.Timeout),
}
