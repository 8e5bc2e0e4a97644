/**
 * What a former primary had acknowledged and the cluster promoted in its place never got, kept when it begins to follow that cluster: one
 * sealed set each time. Values stay the ciphertext they were, under their own key; the set holds the keyring that opens them, itself
 * sealed by the root key, because a rotation of keys may be among what was not replicated. Class ignored: a set stays here.
 */
import { openKeyring } from '@lockstep/barrier'
import type { Plain } from '@lockstep/replication'
import { decodePosition, type WalOperation } from '@lockstep/replication'
import type { AppliedEntry, LoggedStore, RecordsAfter } from '@lockstep/replication-driver'
import { type Store, type Transaction, transact } from '@lockstep/storage'
import { CoreError } from '../../contracts.ts'
import { sealKeys } from '../../seal-life-cycle/seal-config.ts'
import type { Unsealed } from '../../seal-life-cycle/services.ts'
import { type ReplicationKind, roleKeys } from '../role-records.ts'
import { rfc3339 } from '../status.ts'
import { decodeKept, encodeKept, type KeptEntry, keptKey, parseKeptKey } from './unreplicated-entry.ts'

export interface UnreplicatedSet {
  id: string
  kind: ReplicationKind
  /** From the cluster's own log, record by record; else what the first comparison with the new primary replaced or deleted. */
  exact: boolean
  /** That comparison is not over. */
  open: boolean
  /** First and last record of this cluster's log; 0 when not exact. */
  fromIndex: number
  toIndex: number
  records: number
  entries: number
  bytes: number
  /** ms since the epoch. */
  at: number
  /** The keyring of the time, under the root key, base64. */
  keyring: string
}

export interface EntryPage {
  entries: Omit<KeptEntry, 'value'>[]
  /** Give it as `after` for the next page; "" at the end. */
  next: string
}

/** Of one commit while a set is stored. */
const COMMIT_ENTRIES = 256
const COMMIT_BYTES = 1024 * 1024

export interface UnreplicatedComponents {
  logged: Pick<LoggedStore, 'get' | 'put' | 'begin' | 'scan' | 'list'>
  barrier: Pick<Store, 'get' | 'list'>
  keyring: Unsealed['keyring']
}

export interface Unreplicated {
  list(kind: ReplicationKind): Promise<UnreplicatedSet[]>
  read(kind: ReplicationKind, id: string): Promise<UnreplicatedSet | undefined>
  /** `limit` 1 to 1000. */
  entries(kind: ReplicationKind, id: string, page: { after: string; limit: number }): Promise<EntryPage>
  /** The decrypted value; undefined when the set has no such entry or it is a deletion. */
  value(kind: ReplicationKind, id: string, entry: { index: number; key: string }): Promise<Uint8Array | undefined>
  delete(kind: ReplicationKind, id: string): Promise<void>
  /** Stores the entries of the records; the set exists once its header is saved. Resolves with undefined when there are none. */
  capture(kind: ReplicationKind, id: string, records: RecordsAfter, at: number): Promise<UnreplicatedSet | undefined>
  /** The header of a set that `preserving` fills. */
  begin(kind: ReplicationKind, id: string, at: number): Promise<UnreplicatedSet>
  /** In a transaction of the barrier. */
  saveHeader(transaction: Pick<Transaction, 'put'>, set: UnreplicatedSet): Promise<void>
}

const base = (kind: ReplicationKind): string => roleKeys.unreplicated(kind)
const headers = (kind: ReplicationKind): string => `${base(kind)}set/`
const headerKey = (kind: ReplicationKind, id: string): string => headers(kind) + id
const kept = (kind: ReplicationKind, id: string): string => `${base(kind)}entry/${id}/`

export function unreplicated({ logged, barrier, keyring }: UnreplicatedComponents): Unreplicated {
  async function read(kind: ReplicationKind, id: string): Promise<UnreplicatedSet | undefined> {
    if (!isId(id)) return undefined
    const stored = await barrier.get(headerKey(kind, id))
    return stored && (JSON.parse(Buffer.from(stored).toString()) as UnreplicatedSet)
  }

  /** Deletes in bounded commits what is stored below the prefix. */
  async function clear(prefix: string): Promise<void> {
    for (;;) {
      const keys: string[] = []
      for await (const [key] of logged.scan({ prefix, limit: COMMIT_ENTRIES })) keys.push(key)
      if (keys.length === 0) return
      await transact(logged, async (transaction) => {
        for (const key of keys) await transaction.delete(key)
      })
    }
  }

  async function storedKeyring(): Promise<string> {
    const record = await logged.get(sealKeys.keyring)
    if (record === undefined) throw new CoreError('CORE_INTERNAL', 'stored keyring is missing')
    return Buffer.from(record).toString('base64')
  }

  return {
    read,
    async list(kind) {
      const sets = await Promise.all((await barrier.list(headers(kind))).map((id) => read(kind, id)))
      return sets.filter((set) => set !== undefined)
    },

    async entries(kind, id, { after, limit }) {
      const prefix = kept(kind, id)
      const entries: EntryPage['entries'] = []
      let last = ''
      const from = after === '' ? {} : { after: prefix + after }
      for await (const [key, bytes] of logged.scan({ prefix, ...from, limit: limit + 1 })) {
        if (entries.length === limit) return { entries, next: last }
        last = key.slice(prefix.length)
        const { value: _, ...shown } = decodeKept(parseKeptKey(last), bytes)
        entries.push(shown)
      }
      return { entries, next: '' }
    },

    async value(kind, id, { index, key }) {
      // Keys of the cluster, tokens and what belongs to them are not for reading.
      if (/^(?:core|sys\/token|sys\/expire)\//.test(key)) {
        throw new CoreError('CORE_INVALID_REQUEST', 'key: values of core/, sys/token/ and sys/expire/ are not shown')
      }
      const set = await read(kind, id)
      const bytes = set && (await logged.get(kept(kind, id) + keptKey(index, key)))
      if (set === undefined || bytes === undefined) return undefined
      const { value } = decodeKept({ index, key }, bytes)
      if (value === undefined) return undefined
      const rootKey = keyring().rootKey()
      try {
        // The keyring itself is sealed by the root key.
        const opened = openKeyring(rootKey, Buffer.from(set.keyring, 'base64'))
        try {
          return opened.open(key, value)
        } finally {
          opened.close()
        }
      } finally {
        rootKey.fill(0)
      }
    },

    async delete(kind, id) {
      if (!isId(id)) return
      // Entries first: what has no header any more could not be asked for again.
      await clear(kept(kind, id))
      await transact(logged, (transaction) => transaction.delete(headerKey(kind, id)))
    },

    async capture(kind, id, found, at) {
      if (found.count === 0) return undefined
      const prefix = kept(kind, id)
      // An earlier attempt may have been cut short.
      await clear(prefix)
      const set: UnreplicatedSet = {
        ...{ id, kind, exact: true, open: false, at, keyring: await storedKeyring() },
        ...{ fromIndex: found.after.index + 1, toIndex: found.head.index },
        ...{ records: 0, entries: 0, bytes: 0 },
      }
      let batch = new Map<string, Uint8Array>()
      let bytes = 0
      const flush = async (): Promise<void> => {
        const writes = batch
        batch = new Map()
        bytes = 0
        await transact(logged, async (transaction) => {
          for (const [key, value] of writes) await transaction.put(key, value)
        })
      }
      for await (const { index, operations } of found.records()) {
        const last = lastOfEach(operations.filter(({ partition }) => kind === 'dr' || partition.class === 'replicated'))
        if (last.length > 0) set.records++
        for (const { key, value, mountPath, partition } of last) {
          const operation = value === undefined ? 'delete' : 'put'
          const mount = { class: partition.class, mount: partition.mount, mountPath }
          const encoded = encodeKept({ index, key, operation, ...mount, value })
          batch.set(prefix + keptKey(index, key), encoded)
          bytes += encoded.byteLength
          set.entries++
          set.bytes += value?.byteLength ?? 0
          if (batch.size >= COMMIT_ENTRIES || bytes >= COMMIT_BYTES) await flush()
        }
      }
      if (batch.size > 0) await flush()
      return set.entries === 0 ? undefined : set
    },

    async begin(kind, id, at) {
      await clear(kept(kind, id))
      return {
        ...{ id, kind, exact: false, open: true, at, keyring: await storedKeyring() },
        ...{ fromIndex: 0, toIndex: 0, records: 0, entries: 0, bytes: 0 },
      }
    },

    async saveHeader(transaction, set) {
      await transaction.put(headerKey(set.kind, set.id), encodeHeader(set))
    },
  }
}

/**
 * A store whose `apply` keeps, in the same transaction, each entry that the new primary's state replaces or deletes, until the first
 * comparison is over.
 */
export function preserving(
  store: LoggedStore,
  keyring: Unsealed['keyring'],
  open: UnreplicatedSet,
): Pick<LoggedStore, 'forest' | 'keysOf' | 'apply' | 'get'> {
  const set = { ...open }
  const prefix = kept(set.kind, set.id)

  /** Entries kept before stay as they are: what is stored by then is the new primary's. */
  async function replaced(entries: readonly AppliedEntry[]): Promise<Map<string, Uint8Array>> {
    const last = lastOfEach(entries)
    const [values, earlier] = await Promise.all([
      Promise.all(last.map(({ key }) => store.get(key))),
      Promise.all(last.map(({ key }) => store.get(prefix + keptKey(0, key)))),
    ])
    const found = new Map<string, Uint8Array>()
    last.forEach(({ key, value: next, partition, mountPath }, place) => {
      const value = values[place]
      if (value === undefined || earlier[place] !== undefined) return
      if (next !== undefined && Buffer.compare(next, value) === 0) return
      const operation = next === undefined ? 'deleted' : 'replaced'
      const mount = { class: partition.class, mount: partition.mount, mountPath }
      found.set(prefix + keptKey(0, key), encodeKept({ index: 0, key, operation, ...mount, value }))
      set.entries++
      set.bytes += value.byteLength
    })
    return found
  }

  return {
    forest: store.forest,
    keysOf: (partition, keyIds) => store.keysOf(partition, keyIds),
    get: (key) => store.get(key),
    async apply(entries, ignored) {
      if (!set.open) return store.apply(entries, ignored)
      const before = { entries: set.entries, bytes: set.bytes }
      const also = new Map([...ignored, ...(await replaced(entries))])
      const synced = isSynced(ignored.get(roleKeys.cursor(set.kind)))
      const header = headerKey(set.kind, set.id)
      also.set(header, keyring().seal(header, encodeHeader({ ...set, open: !synced })))
      try {
        await store.apply(entries, also)
      } catch (error) {
        Object.assign(set, before)
        throw error
      }
      set.open = !synced
    },
  }
}

/** As listings show it. */
export function shownSet(set: UnreplicatedSet): Record<string, unknown> {
  return {
    id: set.id,
    exact: set.exact,
    complete: !set.open,
    from_index: set.fromIndex,
    to_index: set.toIndex,
    records: set.records,
    entries: set.entries,
    bytes: set.bytes,
    time: rfc3339(set.at),
  }
}

export function shownEntry(entry: EntryPage['entries'][number]): Record<string, Plain> {
  const { index, key, operation, mountPath, mount } = entry
  return { index, key, operation, mount_path: mountPath, mount_id: mount, class: entry.class }
}

function encodeHeader(set: UnreplicatedSet): Uint8Array {
  return Buffer.from(JSON.stringify(set))
}

function isSynced(position: Uint8Array | undefined): boolean {
  return position !== undefined && decodePosition(position).cursor !== null
}

/** A key that moves between partitions is deleted from one and put into the other in one record. */
function lastOfEach<T extends Pick<WalOperation, 'key' | 'value'>>(operations: readonly T[]): T[] {
  const last = new Map<string, T>()
  for (const operation of operations) {
    if (operation.value === undefined && last.get(operation.key)?.value !== undefined) continue
    last.set(operation.key, operation)
  }
  return [...last.values()]
}

function isId(id: string): boolean {
  return /^[a-z0-9][a-z0-9-]{0,63}$/.test(id)
}
