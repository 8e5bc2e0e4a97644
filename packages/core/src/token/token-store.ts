/**
 * Service tokens (one record and one lease each, made together) and batch tokens (sealed, stored nowhere).
 *
 * A live token is found in memory without touching storage; an expired, spent or revoked one is never served, from the moment its
 * revocation begins. Only one node of a cluster writes tokens, so the guards against races are in memory and the effects on disk.
 */
import { timingSafeEqual } from 'node:crypto'
import type { AuthGrant } from '@lockstep/backend'
import { prefixedStore, type Store, transact } from '@lockstep/storage'
import {
  type Clock,
  CoreError,
  type Lease,
  type Log,
  type NewToken,
  type TokenEntry,
  type TokenStore,
} from '../contracts.ts'
import type { TokenLeases } from '../leases/lease-manager.ts'
import { inParallel } from '../leases/parallel.ts'
import { turnTaking } from '../leases/turn-taking.ts'
import { randomBase62 } from './base62.ts'
import { BATCH_PREFIX, batchTokens } from './batch-token.ts'
import { births } from './births.ts'
import { isAlive, type LiveToken, liveTokens } from './live-tokens.ts'
import { decodeToken, encodeToken } from './token-record.ts'
import { SALT_KEY, tokenSalt } from './token-salt.ts'

export interface TokenStoreComponents {
  /** The whole barrier store; tokens live at `sys/token/`. */
  storage: Store
  leases: TokenLeases
  clock: Clock
  log: Log
  random(bytes: number): Uint8Array
  /** Authenticated encryption under the barrier's keyring, for batch tokens. */
  sealBatch(plaintext: Uint8Array): Uint8Array
  /** Inverse of `sealBatch`; undefined or throwing for what it did not make. */
  openBatch(sealed: Uint8Array): Uint8Array | undefined
  /** Empties the private store of a token that goes away. */
  destroyCubbyhole?(cubbyholeId: string): Promise<void>
}

export interface RevocableTokenStore extends TokenStore {
  /** For the lease manager: revokes the token whose own lease this is. */
  revokeLease(lease: Lease): Promise<void>
}

export const SERVICE_PREFIX = 'hvs.'
const PREFIX = 'sys/token/'
const ID_LENGTH = 24
const LONGEST_ID = 1024
const indexed = new Uint8Array([1])

/** @param options.cacheSize live tokens kept in memory, up to twice as many. Default 10 000. */
export function tokenStore(
  components: TokenStoreComponents,
  options: { cacheSize?: number } = {},
): RevocableTokenStore {
  const { clock, leases, log, random } = components
  const barrier = components.storage
  const storage = prefixedStore(barrier, PREFIX)
  const salt = tokenSalt(storage, random)
  const batch = batchTokens(components.sealBatch, components.openBatch)
  const live = liveTokens(options.cacheSize ?? 10_000)
  const inTurn = turnTaking()
  const children = births()
  /** Names of tokens being revoked. */
  const revoking = new Set<string>()
  /** Reads under way; a change meanwhile makes them start over. */
  const reads = new Map<string, { stale: boolean; result: Promise<LiveToken | undefined> }>()

  function drop(name: string): void {
    live.drop(name)
    const read = reads.get(name)
    if (read !== undefined) read.stale = true
  }

  /** The names are derived anew: for records found by scanning. */
  async function entryOf(bytes: Uint8Array): Promise<TokenEntry> {
    const decoded = decodeToken(bytes)
    const names = await salt.names()
    const accessor = names.accessor(decoded.id)
    return { ...decoded, accessor, cubbyholeId: names.name(accessor) }
  }

  // ------------------------------------------------------------- lookup

  function liveNamed(name: string, accessor: string): Promise<LiveToken | undefined> | LiveToken | undefined {
    if (revoking.has(name)) return undefined
    const known = live.byName(name)
    if (known !== undefined && isAlive(known, clock.now())) return known
    const running = reads.get(name)
    if (running !== undefined) return running.result
    const read = { stale: false, result: Promise.resolve<LiveToken | undefined>(undefined) }
    read.result = readLive(name, accessor, read).finally(() => reads.delete(name))
    reads.set(name, read)
    return read.result
  }

  async function readLive(name: string, accessor: string, read: { stale: boolean }): Promise<LiveToken | undefined> {
    do {
      read.stale = false
      const bytes = await storage.get(`id/${name}`)
      if (bytes === undefined) {
        live.drop(name)
        return undefined
      }
      const entry: TokenEntry = { ...decodeToken(bytes), accessor, cubbyholeId: name }
      const lease = entry.ttl === 0 ? undefined : await leases.tokenLease(entry)
      const found = { entry, lease }
      if (read.stale) continue
      if (revoking.has(name) || !isAlive(found, clock.now())) return undefined
      live.add(found)
      return found
    } while (read.stale)
    return undefined
  }

  function lookup(id: string): Promise<TokenEntry | undefined> | TokenEntry | undefined {
    const known = live.get(id)
    if (known !== undefined && known.entry.type === 'service' && isAlive(known, clock.now())) return known.entry
    if (id.startsWith(BATCH_PREFIX)) return liveBatch(id, known)
    if (id === '' || id.length > LONGEST_ID) return undefined
    return find(id)
  }

  async function find(id: string): Promise<TokenEntry | undefined> {
    const names = await salt.names()
    const accessor = names.accessor(id)
    const found = await liveNamed(names.name(accessor), accessor)
    return found !== undefined && sameText(found.entry.id, id) ? found.entry : undefined
  }

  function liveBatch(
    id: string,
    known: LiveToken | undefined,
  ): Promise<TokenEntry | undefined> | TokenEntry | undefined {
    const entry = known?.entry ?? batch.open(id)
    const token = { entry: entry!, lease: undefined }
    if (entry === undefined || !isAlive(token, clock.now())) return undefined
    if (known === undefined) live.add(token)
    if (entry.parent === '') return entry
    const parent = lookup(entry.parent)
    if (parent instanceof Promise) return parent.then((found) => found && entry)
    return parent && entry
  }

  // ------------------------------------------------------------- create

  async function liveParent(id: string): Promise<TokenEntry> {
    const found = lookup(id)
    const parent = found instanceof Promise ? await found : found
    if (parent === undefined || revoking.has(parent.cubbyholeId)) throw noParent()
    if (parent.type === 'batch') throw new CoreError('CORE_INVALID_REQUEST', 'batch tokens cannot create more tokens')
    return parent
  }

  async function create(token: NewToken, settings: Parameters<TokenStore['create']>[1] = {}): Promise<TokenEntry> {
    const entry = draft(token, clock.now())
    if (entry.ttl <= 0 && (!isRoot(entry) || entry.type === 'batch'))
      throw new CoreError('CORE_INTERNAL', 'a token that is not root needs a TTL')
    const parent = entry.parent === '' ? undefined : await liveParent(entry.parent)
    if (entry.type === 'batch') {
      entry.id = batch.mint(entry)
      return entry
    }

    const known = salt.names()
    const names = known instanceof Promise ? await known : known
    if (entry.id === '') entry.id = SERVICE_PREFIX + randomBase62(random, ID_LENGTH)
    else if (token.id!.startsWith(BATCH_PREFIX) || token.id!.length > LONGEST_ID) throw duplicateId()
    entry.accessor = names.accessor(entry.id)
    entry.cubbyholeId = names.name(entry.accessor)
    if (parent !== undefined && revoking.has(parent.cubbyholeId)) throw noParent()
    const born = parent && children.begin(parent.cubbyholeId)
    try {
      const lease = await store(entry, parent, token.id !== undefined, settings)
      // Inside a transaction of the caller the token does not exist yet.
      if (settings.transaction === undefined) live.add({ entry, lease })
      return entry
    } finally {
      born?.()
    }
  }

  async function store(
    entry: TokenEntry,
    parent: TokenEntry | undefined,
    givenId: boolean,
    settings: NonNullable<Parameters<TokenStore['create']>[1]>,
  ): Promise<Lease | undefined> {
    const name = entry.cubbyholeId
    const transaction = settings.transaction ?? (await barrier.begin())
    try {
      const key = `${PREFIX}id/${name}`
      if (givenId && (await transaction.get(key)) !== undefined) throw duplicateId()
      await transaction.put(key, encodeToken(entry))
      if (parent !== undefined) await transaction.put(`${PREFIX}parent/${parent.cubbyholeId}/${name}`, indexed)
      const auth = settings.auth ?? grantOf(entry, settings.leaseInternalData ?? {})
      const lease = entry.ttl === 0 ? undefined : await leases.registerToken({ entry, auth, transaction })
      if (settings.transaction === undefined) await transaction.commit()
      return lease
    } catch (error) {
      if (settings.transaction === undefined) await transaction.abort()
      // Nothing but the check for a given id is read: another token of that id was made at the same time.
      if (givenId && (error as { code?: unknown }).code === 'STORAGE_CONFLICT') throw duplicateId()
      throw error
    }
  }

  // ------------------------------------------------------------- revoke

  async function revokeNamed(name: string, keepChildren: boolean): Promise<void> {
    await inTurn(name, async () => {
      revoking.add(name)
      const known = live.byName(name)
      drop(name)
      try {
        const bytes = await storage.get(`id/${name}`)
        if (bytes === undefined) return
        const entry = known?.entry ?? (await entryOf(bytes))
        await children.settled(name)
        const offspring = await childrenOf(name)
        if (!keepChildren) await inParallel(offspring, (child) => revokeNamed(child, false))
        await leases.revokeByToken(entry)
        await components.destroyCubbyhole?.(name)
        await remove(entry, keepChildren ? offspring : [])
        entry.numUses = -1
      } finally {
        revoking.delete(name)
      }
    })
  }

  async function childrenOf(name: string): Promise<string[]> {
    const prefix = `parent/${name}/`
    const found: string[] = []
    for await (const [key] of storage.scan({ prefix })) found.push(key.slice(prefix.length))
    return found
  }

  async function remove(entry: TokenEntry, orphans: readonly string[]): Promise<void> {
    const name = entry.cubbyholeId
    const names = await salt.names()
    const removed = await transact(barrier, async (transaction) => {
      await transaction.delete(`${PREFIX}id/${name}`)
      if (entry.parent !== '') {
        await transaction.delete(`${PREFIX}parent/${names.name(names.accessor(entry.parent))}/${name}`)
      }
      for (const orphan of orphans) {
        await transaction.delete(`${PREFIX}parent/${name}/${orphan}`)
        const bytes = await transaction.get(`${PREFIX}id/${orphan}`)
        if (bytes === undefined) continue
        await transaction.put(`${PREFIX}id/${orphan}`, encodeToken({ ...(await entryOf(bytes)), parent: '' }))
      }
      return leases.dropToken(entry, transaction)
    })
    removed()
    for (const orphan of orphans) {
      const child = live.byName(orphan)
      if (child !== undefined) Object.assign(child.entry, { parent: '', orphan: true })
      else drop(orphan)
    }
  }

  async function revoke(id: string, keepChildren: boolean): Promise<void> {
    if (id === '' || id.length > LONGEST_ID || id.startsWith(BATCH_PREFIX)) return
    const names = await salt.names()
    await revokeNamed(names.name(names.accessor(id)), keepChildren)
  }

  return {
    create,
    lookup,

    async lookupAccessor(accessor) {
      if (accessor === '' || accessor.length > 64) return undefined
      const names = await salt.names()
      return (await liveNamed(names.name(accessor), accessor))?.entry
    },

    async consumeUse(entry) {
      if (entry.numUses === 0 || entry.type === 'batch') return { last: false }
      const name = entry.cubbyholeId
      return inTurn(name, async () => {
        const left = await transact(storage, async (transaction) => {
          const bytes = await transaction.get(`id/${name}`)
          const stored = bytes && (await entryOf(bytes))
          if (stored === undefined || stored.numUses <= 0) {
            throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
          }
          const numUses = stored.numUses === 1 ? -1 : stored.numUses - 1
          await transaction.put(`id/${name}`, encodeToken({ ...stored, numUses }))
          return numUses
        })
        entry.numUses = left
        const current = live.byName(name)
        if (current !== undefined) current.entry.numUses = left
        return { last: left < 0 }
      })
    },

    revoke: (id) => revoke(id, false),
    revokeOrphan: (id) => revoke(id, true),
    revokeLease: (lease) => revokeNamed(lease.id.slice(lease.id.lastIndexOf('/') + 1), false),

    async accessors() {
      const names = await salt.names()
      const accessors: string[] = []
      for await (const [, bytes] of storage.scan({ prefix: 'id/' }))
        accessors.push(names.accessor(decodeToken(bytes).id))
      return accessors
    },

    async tidy() {
      let indices = 0
      let tokens = 0
      for await (const [key] of storage.scan({ prefix: 'parent/' })) {
        const child = key.slice(key.lastIndexOf('/') + 1)
        if ((await storage.get(`id/${child}`)) !== undefined) continue
        await storage.delete(key)
        indices++
      }
      for await (const [key, bytes] of storage.scan({ prefix: 'id/' })) {
        const entry = await entryOf(bytes)
        if (entry.ttl === 0 || (await leases.tokenLease(entry)) !== undefined) continue
        // Made or removed since the scan began?
        if ((await storage.get(key)) === undefined || live.byName(entry.cubbyholeId) !== undefined) continue
        await revokeNamed(entry.cubbyholeId, false)
        tokens++
      }
      log.info('tokens tidied', { indices_removed: indices, tokens_without_lease_revoked: tokens })
    },

    invalidate(key) {
      if (key === SALT_KEY) {
        salt.forget()
        live.clear()
        for (const read of reads.values()) read.stale = true
      } else if (key.startsWith('id/')) drop(key.slice(3))
    },
  }
}

function draft(token: NewToken, now: number): TokenEntry {
  const parent = token.parent ?? ''
  const type = token.type ?? 'service'
  const ttl = token.ttl ?? 0
  return {
    id: token.id ?? '',
    accessor: '',
    parent,
    policies: token.policies,
    path: token.path,
    meta: token.meta ?? null,
    displayName: token.displayName ?? '',
    numUses: token.numUses ?? 0,
    creationTime: now,
    ttl,
    explicitMaxTtl: token.explicitMaxTtl ?? 0,
    period: token.period ?? 0,
    type,
    role: token.role ?? '',
    entityId: token.entityId ?? '',
    boundCidrs: token.boundCidrs ?? [],
    renewable: type === 'service' && ttl > 0 && (token.renewable ?? true),
    orphan: parent === '',
    cubbyholeId: '',
  }
}

function grantOf(entry: TokenEntry, internalData: Record<string, unknown>): AuthGrant {
  const { displayName, policies, meta, ttl, period, explicitMaxTtl, numUses, renewable, type, boundCidrs } = entry
  const rest = { maxTtl: 0, tokenType: type, noDefaultPolicy: false, internalData, metadata: meta ?? {} }
  return { displayName, policies, ttl, period, explicitMaxTtl, numUses, renewable, boundCidrs, ...rest }
}

function isRoot(entry: TokenEntry): boolean {
  return entry.policies.length === 1 && entry.policies[0] === 'root'
}

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a)
  const right = Buffer.from(b)
  return left.length === right.length && timingSafeEqual(left, right)
}

function noParent(): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', 'parent token lookup failed: no parent found')
}

function duplicateId(): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', 'cannot create a token with a duplicate ID')
}
