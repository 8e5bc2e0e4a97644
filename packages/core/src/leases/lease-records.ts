/** The lease manager's part of storage: `sys/expire/id/<lease>` and, for secrets, `sys/expire/token/<token name>/<lease>`. */
import { prefixedStore, type Store, type Transaction, transact } from '@lockstep/storage'
import { decodeLease, encodeLease, type StoredLease } from './lease-record.ts'

export const EXPIRE_PREFIX = 'sys/expire/'
const indexed = new Uint8Array([1])

export interface LeaseRecords {
  read(id: string): Promise<StoredLease | undefined>
  /** In the transaction (over the whole barrier) when given. */
  write(stored: StoredLease, transaction?: Transaction): Promise<void>
  /** A new secret's lease together with its entry in the owner's index. */
  writeOwned(stored: StoredLease): Promise<void>
  delete(stored: StoredLease): Promise<void>
  deleteWithin(transaction: Transaction, id: string): Promise<void>
  ids(prefix: string): AsyncIterable<string>
  children(prefix: string): Promise<string[]>
  ownedBy(owner: string): Promise<string[]>
  all(): AsyncIterable<StoredLease>
}

/** @param barrier the whole barrier store. */
export function leaseRecords(barrier: Store): LeaseRecords {
  const storage = prefixedStore(barrier, EXPIRE_PREFIX)

  async function* ids(prefix: string): AsyncIterable<string> {
    for await (const [key] of storage.scan({ prefix: `id/${prefix}` })) yield key.slice(3)
  }

  return {
    ids,
    async read(id) {
      if (!isLeaseId(id)) return undefined
      const bytes = await storage.get(`id/${id}`)
      return bytes && decodeLease(id, bytes)
    },
    write(stored, transaction) {
      const value = encodeLease(stored)
      const key = `id/${stored.lease.id}`
      return transaction === undefined ? storage.put(key, value) : transaction.put(EXPIRE_PREFIX + key, value)
    },
    writeOwned(stored) {
      const { id } = stored.lease
      const { owner } = stored
      if (owner === '') return storage.put(`id/${id}`, encodeLease(stored))
      return transact(storage, async (transaction) => {
        await transaction.put(`id/${id}`, encodeLease(stored))
        await transaction.put(`token/${owner}/${id}`, indexed)
      })
    },
    delete({ lease: { id }, owner }) {
      if (owner === '') return storage.delete(`id/${id}`)
      return transact(storage, async (transaction) => {
        await transaction.delete(`id/${id}`)
        await transaction.delete(`token/${owner}/${id}`)
      })
    },
    deleteWithin(transaction, id) {
      return transaction.delete(`${EXPIRE_PREFIX}id/${id}`)
    },
    children(prefix) {
      const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
      return storage.list(`id/${folder}`)
    },
    async ownedBy(owner) {
      const prefix = `token/${owner}/`
      const owned: string[] = []
      for await (const [key] of storage.scan({ prefix })) owned.push(key.slice(prefix.length))
      return owned
    },
    async *all() {
      for await (const [key, value] of storage.scan({ prefix: 'id/' })) yield decodeLease(key.slice(3), value)
    },
  }
}

function isLeaseId(id: string): boolean {
  return id !== '' && id.length <= 2048 && !id.startsWith('/') && !id.endsWith('/') && !id.includes('\0')
}
