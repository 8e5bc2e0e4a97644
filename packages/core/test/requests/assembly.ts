import { randomBytes, randomUUID } from 'node:crypto'
import { type AuthGrant, type Backend, BackendError, type BackendFactory } from '@lockstep/backend'
import { parseHcl } from '@lockstep/hcl'
import { memoryStore, prefixedStore, type Store } from '@lockstep/storage'
import { classRules, vaultRules } from '@lockstep/storage-classes'
import type {
  AuditBroker,
  AuditRecord,
  CoreRequest,
  CoreResponse,
  ForwardToPrimary,
  TokenEntry,
} from '../../src/contracts.ts'
import { CoreError } from '../../src/contracts.ts'
import { leaseManager } from '../../src/leases/lease-manager.ts'
import { type Mounts, mountTable } from '../../src/mounts/mount-table.ts'
import { effectiveTtl } from '../../src/mounts/mounted-backend.ts'
import { policyStore } from '../../src/policy/policy-store.ts'
import { type RequestHandler, requestHandler } from '../../src/requests/request-handler.ts'
import { leaseCalls } from '../../src/services/lease-calls.ts'
import { auditedHeaders } from '../../src/system/audited-headers.ts'
import type { SystemComponents } from '../../src/system/components.ts'
import { systemBackend } from '../../src/system/system-backend.ts'
import { tokenBackend } from '../../src/token/backend/token-backend.ts'
import { tokenStore } from '../../src/token/token-store.ts'
import { wrappingStore } from '../../src/wrapping/wrapping-store.ts'
import { checkedStore, quiet } from '../mounts/table.ts'

const defaults = { defaultLeaseTtl: 2_764_800, maxLeaseTtl: 2_764_800 }

/** Plain key-value storage, like kv v1 as far as these tests need it. `creds/` hands out leased secrets. */
const tinyKv =
  (revoked: string[]): BackendFactory =>
  ({ storage }): Backend => ({
    type: 'kv',
    special: { forwardPerformanceSecondary: ['on-primary'] },
    async handle({ operation, path, data, headers, lease }) {
      if (path === 'headers') return { data: { ...headers }, headers: { 'X-Kept': '1', 'X-Dropped': '1' } }
      if (path === 'raw') return { raw: { contentType: 'text/plain', body: 'plain' } }
      if (path === 'boom') throw new Error('secret detail')
      if (path === 'gone') return { status: 404, data: { data: null } }
      if (path === 'warned') return { warnings: ['look out'] }
      if (path.startsWith('unsupported')) throw new BackendError('BACKEND_UNSUPPORTED_PATH', 'unsupported path')
      if (path.startsWith('creds/') && operation === 'read') {
        return {
          data: { password: 'p' },
          secret: { ttl: 60, maxTtl: 120, renewable: true, internalData: { id: path } },
        }
      }
      switch (operation) {
        case 'read': {
          const value = path === '' ? undefined : await storage.get(path)
          return value && { data: JSON.parse(Buffer.from(value).toString()), leaseDuration: 2_764_800 }
        }
        case 'list':
          return { data: { keys: await storage.list(path) } }
        case 'delete':
          await storage.delete(path)
          return undefined
        case 'create':
        case 'update':
          if (Object.keys(data).length === 0) throw new BackendError('BACKEND_INVALID_REQUEST', 'missing data fields')
          await storage.put(path, Buffer.from(JSON.stringify(data)))
          return undefined
        case 'renew':
          return undefined
        case 'revoke':
          revoked.push(String(lease?.internalData.id))
          return undefined
        default:
          throw new BackendError('BACKEND_UNSUPPORTED_OPERATION', 'unsupported operation')
      }
    },
    exists: async ({ path }) => (await storage.get(path)) !== undefined,
  })

const noGrant: AuthGrant = {
  displayName: 'bob',
  policies: ['reader'],
  metadata: { username: 'bob' },
  ttl: 0,
  maxTtl: 0,
  period: 0,
  explicitMaxTtl: 0,
  numUses: 0,
  renewable: true,
  tokenType: 'default',
  noDefaultPolicy: false,
  boundCidrs: [],
  internalData: {},
}

/** Logs in everybody who sends `password: right`; `grant` in the request changes what is granted. */
const tinyLogin: BackendFactory = (): Backend => ({
  type: 'userpass',
  special: { unauthenticated: ['login/*'] },
  async handle({ operation, path, data }) {
    if (operation === 'renew') return { auth: noGrant }
    if (!path.startsWith('login/')) throw new BackendError('BACKEND_UNSUPPORTED_PATH', 'unsupported path')
    if (data.password !== 'right') throw new BackendError('BACKEND_INVALID_REQUEST', 'invalid username or password')
    return { auth: { ...noGrant, ...(data.grant as Partial<AuthGrant>) } }
  },
})

const tinyCubbyhole: BackendFactory = ({ storage }): Backend => ({
  type: 'cubbyhole',
  special: {},
  async handle({ operation, path, data, caller }) {
    const key = `${caller!.cubbyholeId}/${path}`
    if (operation === 'read') {
      const value = await storage.get(key)
      return value && { data: JSON.parse(Buffer.from(value).toString()) }
    }
    await storage.put(key, Buffer.from(JSON.stringify(data)))
    return undefined
  },
})

/** A device list of one, which can be made to fail, and what it was given. */
export interface FakeAudit {
  records: AuditRecord[]
  fail: AuditRecord['type'] | undefined
}

function fakeAudit(state: FakeAudit): AuditBroker {
  const devices: ReturnType<AuditBroker['list']> = {}
  return {
    write(record) {
      if (state.fail === record.type) return Promise.reject(new Error('disk full'))
      state.records.push(record)
      return undefined
    },
    async enable(path, config) {
      devices[path] = { path, ...config }
    },
    async disable(path) {
      delete devices[path]
    },
    list: () => devices,
    hash: async (_path, input) => `hmac-sha256:${input.length}`,
    load: async () => {},
    reopen: async () => {},
    invalidate() {},
    close: async () => {},
  }
}

export interface Assembly {
  store: Store
  mounts: Mounts
  handler: RequestHandler
  tokens: ReturnType<typeof tokenStore>
  leases: ReturnType<typeof leaseManager>
  audit: FakeAudit
  rootToken: string
  clock: { time: number }
  calls: string[]
  ask(operation: CoreRequest['operation'], path: string, options?: AskOptions): Promise<Answer>
  /** A token with a policy of these rules. */
  tokenWith(rules: string, token?: Partial<TokenEntry>): Promise<string>
  close(): Promise<void>
}

export interface AskOptions extends Partial<Omit<CoreRequest, 'operation' | 'path' | 'clientToken'>> {
  /** Default: root. "" = none. */
  token?: string
}

/** What a client would see: `errors` of a rejection, or the response. */
export interface Answer {
  code?: string
  error?: string
  status?: number
  response?: CoreResponse
  data?: Record<string, unknown> | null
}

export interface AssemblyOptions {
  store?: Store
  refuse?(key: string): boolean
  secondary?: boolean
  forward?: ForwardToPrimary
  system?: Partial<SystemComponents>
}

export async function assembly(options: AssemblyOptions = {}): Promise<Assembly> {
  const rules = classRules(vaultRules)
  const plain = options.store ?? memoryStore()
  const store = checkedStore(plain, (key) => {
    if (options.refuse?.(key)) throw Object.assign(new Error('read only'), { code: 'REPLICATION_READ_ONLY' })
    rules.classify(key)
  })
  const clock = { time: Date.parse('2026-11-23T12:00:00Z'), now: () => clock.time }
  const random = (length: number): Uint8Array => randomBytes(length)
  const state: FakeAudit = { records: [], fail: undefined }
  const audit = fakeAudit(state)
  const calls: string[] = []
  const isPerformanceSecondary = () => options.secondary === true
  const common = { clock, log: quiet, random }

  const mountTtl = (path: string) => effectiveTtl(mounts.route(path)!.entry, defaults)
  const policies = policyStore({ storage: prefixedStore(store, 'sys/policy/'), parseHcl })
  const leases = leaseManager({
    ...common,
    storage: store,
    mountTtl,
    ...leaseCalls(() => mounts),
    revokeToken: (lease) => tokens.revokeLease(lease),
    lookupToken: (id) => tokens.lookup(id),
  })
  const tokens = tokenStore({
    ...common,
    storage: store,
    leases,
    sealBatch: (plain) => plain,
    openBatch: (sealed) => sealed,
  })
  const wrapping = wrappingStore({
    ...common,
    tokens,
    storage: store,
    cubbyholePrefix: () => `logical/${mounts.route('cubbyhole/')!.entry.uuid}/`,
  })
  const factories = {
    secret: new Map<string, BackendFactory>([
      ['kv', tinyKv(calls)],
      ['cubbyhole', tinyCubbyhole],
    ]),
    auth: new Map<string, BackendFactory>([['userpass', tinyLogin]]),
  }
  const system = () =>
    systemBackend({
      ...{ ...common, mounts, policies, tokens, leases, wrapping, audit, defaults, factories, isPerformanceSecondary },
      version: '1.14.8',
      auditedHeaders: auditedHeaders({ storage: store, log: quiet }),
      barrier: {
        rotate: async () => void calls.push('rotate'),
        keyStatus: () => ({ term: 3, installTime: clock.time, encryptions: 7 }),
      },
      seal: async () => void calls.push('seal'),
      stepDown: async () => void calls.push('step-down'),
      ...options.system,
    })
  const token = () =>
    tokenBackend({
      ...{ tokens, leases, clock, log: quiet },
      storage: prefixedStore(store, 'sys/token/'),
      mountTtl: () => mountTtl('auth/token/'),
      policyExists: async (name) => (await policies.get(name)) !== undefined,
    })
  const mounts: Mounts = mountTable({
    ...{ ...common, storage: store, classes: rules, defaults, isPerformanceSecondary },
    factories: {
      secret: new Map<string, BackendFactory>([...factories.secret, ['system', system]]),
      auth: new Map<string, BackendFactory>([...factories.auth, ['token', token]]),
    },
    revokeLeases: (prefix, { force }) => leases.revokePrefix(prefix, { force }),
  })
  const handler = requestHandler({
    ...{ mounts, tokens, policies, leases, wrapping, audit, clock, log: quiet, defaults, isPerformanceSecondary },
    ...(options.forward === undefined ? undefined : { forward: options.forward }),
    apiAddress: () => 'http://127.0.0.1:8200',
  })
  await mounts.load()
  if (!isPerformanceSecondary()) await policies.loadDefaults()
  const root = await tokens.create({ policies: ['root'], path: 'auth/token/root', displayName: 'root', ttl: 0 })

  async function ask(operation: CoreRequest['operation'], path: string, asked: AskOptions = {}): Promise<Answer> {
    const { token: clientToken = root.id, ...rest } = asked
    try {
      const response = await handler.handle({
        id: randomUUID(),
        operation,
        path,
        data: {},
        clientToken,
        headers: {},
        remoteAddress: '127.0.0.1',
        remotePort: 1234,
        wrapTtl: 0,
        wrapFormat: '',
        ...rest,
      })
      return { status: response.status, response, ...(response.envelope && { data: response.envelope.data }) }
    } catch (error) {
      if (!(error instanceof CoreError)) throw error
      return { code: error.code, error: error.message }
    }
  }

  async function tokenWith(text: string, entry: Partial<TokenEntry> = {}): Promise<string> {
    const name = `p-${randomUUID()}`
    await policies.set(name, text)
    const token = await tokens.create({ policies: [name], path: 'auth/token/create', ttl: 3600, ...entry })
    return token.id
  }

  return {
    ...{
      store: plain,
      mounts,
      handler,
      tokens,
      leases,
      audit: state,
      rootToken: root.id,
      clock,
      calls,
      ask,
      tokenWith,
    },
    async close() {
      leases.stop()
      await mounts.close()
    },
  }
}
