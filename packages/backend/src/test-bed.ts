/**
 * Runs one backend without a server: memory storage, a settable clock, requests as core would make them. For tests and examples.
 */
import { memoryStore, type Store, transact } from '@lockstep/storage'
import {
  type Backend,
  type BackendContext,
  BackendError,
  type BackendFactory,
  type BackendRequest,
  type BackendResponse,
  type BackendStorage,
  type Caller,
  type Operation,
} from './types.ts'

export interface TestBedOptions {
  /** Mount options, for instance `{ version: '2' }`. */
  options?: Record<string, string>
  /** Default: a fresh memory store. Give another bed's store to run two instances on shared storage. */
  store?: Store
  mountPoint?: string
  /** Seconds. Default: 2764800 both, as Vault's system default. */
  ttl?: { default: number; max: number }
  /** The clock's start, milliseconds. Default: 2026-01-01T00:00:00Z. */
  now?: number
}

export interface TestBed {
  readonly backend: Backend
  readonly store: Store
  /** Change `now` (milliseconds) to move time. */
  readonly clock: { now: number }
  readonly caller: Caller
  /** When true, storage refuses writes as on a performance secondary. */
  readonly readOnly: { value: boolean }
  request(
    operation: Operation,
    path: string,
    data?: Record<string, unknown>,
    overrides?: Partial<BackendRequest>,
  ): Promise<BackendResponse | undefined>
  /** `create` or `update`, as the backend's existence check says; like POST. */
  write(path: string, data?: Record<string, unknown>): Promise<BackendResponse | undefined>
  /** The backend's existence check. */
  exists(path: string, data?: Record<string, unknown>): Promise<boolean | undefined>
  /** `data` of a read, undefined when nothing is there. */
  read(path: string, data?: Record<string, unknown>): Promise<Record<string, unknown> | undefined>
  /** `keys` of a list, [] when there are none. */
  list(path: string): Promise<string[]>
  /** Number of `get`s and `put`s on storage since the last call. */
  storageCalls(): { reads: number; writes: number }
}

export const testCaller: Caller = {
  accessor: 'test-accessor',
  displayName: 'token',
  policies: ['default'],
  type: 'service',
  entityId: '',
  meta: {},
  cubbyholeId: 'test-cubbyhole',
}

export async function testBed(factory: BackendFactory, options: TestBedOptions = {}): Promise<TestBed> {
  const store = options.store ?? memoryStore()
  const clock = { now: options.now ?? Date.UTC(2026, 0, 1) }
  const readOnly = { value: false }
  const calls = { reads: 0, writes: 0 }
  const storage = countedStorage(store, calls, readOnly)
  const ttl = options.ttl ?? { default: 2_764_800, max: 2_764_800 }
  const context: BackendContext = {
    options: options.options ?? {},
    mountUuid: '00000000-0000-4000-8000-000000000000',
    mountAccessor: 'test_00000000',
    storage,
    ttl: () => ttl,
    now: () => clock.now,
    log: () => {},
  }
  const backend = await factory(context)
  let id = 0

  function request(
    operation: Operation,
    path: string,
    data: Record<string, unknown> = {},
    overrides: Partial<BackendRequest> = {},
  ): BackendRequest {
    return {
      id: String(++id),
      operation,
      path,
      data,
      mountPoint: options.mountPoint ?? 'test/',
      mountAccessor: context.mountAccessor,
      caller: testCaller,
      headers: {},
      remoteAddress: '127.0.0.1',
      wrapTtl: 0,
      storage,
      ...overrides,
    }
  }

  const bed: TestBed = {
    backend,
    store,
    clock,
    caller: testCaller,
    readOnly,
    request: (operation, path, data, overrides) => backend.handle(request(operation, path, data, overrides)),
    async exists(path, data) {
      return backend.exists?.(request('update', path, data))
    },
    async write(path, data) {
      return bed.request((await bed.exists(path, data)) === false ? 'create' : 'update', path, data)
    },
    async read(path, data) {
      return (await bed.request('read', path, data))?.data
    },
    async list(path) {
      const response = await bed.request('list', path)
      return (response?.data?.keys as string[] | undefined) ?? []
    },
    storageCalls() {
      const counted = { ...calls }
      calls.reads = calls.writes = 0
      return counted
    },
  }
  return bed
}

function countedStorage(
  store: Store,
  calls: { reads: number; writes: number },
  readOnly: { value: boolean },
): BackendStorage {
  function refuseWhenReadOnly(): void {
    calls.writes++
    if (readOnly.value) throw new BackendError('BACKEND_READ_ONLY', 'cannot write to readonly storage')
  }
  return {
    async get(key) {
      calls.reads++
      return store.get(key)
    },
    async getMany(keys) {
      calls.reads += keys.length
      return store.getMany(keys)
    },
    list: (prefix, options) => store.list(prefix, options),
    scan: (range) => store.scan(range),
    async put(key, value) {
      refuseWhenReadOnly()
      return store.put(key, value)
    },
    async delete(key) {
      refuseWhenReadOnly()
      return store.delete(key)
    },
    transaction: (body) =>
      transact(store, (transaction) =>
        body({
          get(key) {
            calls.reads++
            return transaction.get(key)
          },
          getMany(keys) {
            calls.reads += keys.length
            return transaction.getMany(keys)
          },
          list: (prefix, listOptions) => transaction.list(prefix, listOptions),
          scan: (range) => transaction.scan(range),
          async put(key, value) {
            refuseWhenReadOnly()
            return transaction.put(key, value)
          },
          async delete(key) {
            refuseWhenReadOnly()
            return transaction.delete(key)
          },
          commit: () => transaction.commit(),
          abort: () => transaction.abort(),
        }),
      ),
  }
}
