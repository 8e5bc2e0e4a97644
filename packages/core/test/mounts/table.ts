import type { Backend, BackendFactory } from '@lockstep/backend'
import { memoryStore, type Store } from '@lockstep/storage'
import { classRules, vaultRules } from '@lockstep/storage-classes'
import type { MountTableComponents } from '../../src/mounts/mount-life.ts'
import { type Mounts, mountTable } from '../../src/mounts/mount-table.ts'

export const quiet = { debug() {}, info() {}, warn() {}, error() {} }

/** A backend that keeps plain values by path, with a `local` folder, and counts what happens to it. */
export function shelf(events: string[] = []): BackendFactory {
  return ({ storage, mountUuid, options }): Backend => ({
    type: 'shelf',
    special: { localStorage: ['local/'] },
    async handle({ operation, path, data }) {
      if (operation === 'read') {
        const value = await storage.get(path)
        return value && { data: { value: Buffer.from(value).toString(), version: options.version ?? '1' } }
      }
      if (operation === 'delete') await storage.delete(path)
      else await storage.put(path, Buffer.from(String(data.value)))
      return undefined
    },
    invalidate: (key) => void events.push(`invalidate ${mountUuid} ${key}`),
    async close() {
      events.push(`close ${mountUuid}`)
    },
  })
}

export const failing: BackendFactory = () => {
  throw new Error('no such hardware')
}

export const eager: BackendFactory = async ({ storage }) => {
  await storage.put('seed', Buffer.from('x'))
  return { type: 'eager', special: {}, handle: async () => undefined }
}

const builtin =
  (type: string): BackendFactory =>
  () => ({ type, special: {}, handle: async () => undefined })

export interface Bench {
  store: Store
  rules: ReturnType<typeof classRules>
  events: string[]
  mounts: Mounts
}

/**
 * A table over a store that, as the logged store will, classifies every key it is given and so refuses keys of unregistered mounts.
 */
export function bench(
  options: { store?: Store; table?: Partial<MountTableComponents>; refuse?: (key: string) => boolean } = {},
): Bench {
  const rules = classRules(vaultRules)
  const events: string[] = []
  const store = options.store ?? memoryStore()
  const checked = checkedStore(store, (key) => {
    if (options.refuse?.(key)) throw Object.assign(new Error('read only'), { code: 'REPLICATION_READ_ONLY' })
    rules.classify(key)
  })
  const mounts = mountTable({
    storage: checked,
    classes: rules,
    factories: {
      secret: new Map<string, BackendFactory>([
        ['kv', shelf(events)],
        ['failing', failing],
        ['eager', eager],
        ['system', builtin('system')],
        ['cubbyhole', builtin('cubbyhole')],
      ]),
      auth: new Map<string, BackendFactory>([
        ['userpass', shelf(events)],
        ['token', builtin('token')],
      ]),
    },
    clock: { now: () => 1_700_000_000_000 },
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    log: quiet,
    defaults: { defaultLeaseTtl: 2_764_800, maxLeaseTtl: 2_764_800 },
    ...options.table,
  })
  return { store, rules, events, mounts }
}

export function checkedStore(store: Store, check: (key: string) => void): Store {
  return {
    get: (key) => store.get(key),
    getMany: (keys) => store.getMany(keys),
    list: (prefix, options) => store.list(prefix, options),
    scan: (range) => store.scan(range),
    close: () => store.close(),
    async put(key, value) {
      check(key)
      return store.put(key, value)
    },
    async delete(key) {
      check(key)
      return store.delete(key)
    },
    async begin() {
      const transaction = await store.begin()
      return {
        get: (key) => transaction.get(key),
        getMany: (keys) => transaction.getMany(keys),
        list: (prefix, options) => transaction.list(prefix, options),
        scan: (range) => transaction.scan(range),
        commit: () => transaction.commit(),
        abort: () => transaction.abort(),
        async put(key, value) {
          check(key)
          return transaction.put(key, value)
        },
        async delete(key) {
          check(key)
          return transaction.delete(key)
        },
      }
    },
  }
}

export async function keysUnder(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const [key] of store.scan({ prefix })) keys.push(key)
  return keys
}

/** Writes or reads through the mount at `path`. */
export async function ask(mounts: Mounts, path: string, value?: string): Promise<unknown> {
  const mount = mounts.route(path)
  if (mount === undefined) throw new Error(`nothing is mounted at ${path}`)
  const response = await mount.backend.handle({
    id: '1',
    operation: value === undefined ? 'read' : 'update',
    path: path.slice(mount.point.length),
    data: value === undefined ? {} : { value },
    mountPoint: mount.point,
    mountAccessor: mount.entry.accessor,
    headers: {},
    remoteAddress: '127.0.0.1',
    wrapTtl: 0,
    storage: mount.storage,
  })
  return response?.data?.value
}
