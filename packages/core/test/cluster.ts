/** Clusters of one process: real cores over memory stores, joined by real cluster listeners on 127.0.0.1. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Backend, BackendError, type BackendFactory } from '@lockstep/backend'
import { parseHcl } from '@lockstep/hcl'
import { type ClusterListener, clusterListener } from '@lockstep/replication-transport'
import type { AutoSeal } from '@lockstep/seal'
import { type LeaderLock, type Leadership, memoryStore, type Store } from '@lockstep/storage'
import type { CoreRequest } from '../src/contracts.ts'
import { type Core, type CoreOptions, createCore } from '../src/core.ts'

/** Plain values by path; a value `refuse` is refused. */
const kv: BackendFactory = ({ storage }): Backend => ({
  type: 'kv',
  special: {},
  async handle({ operation, path, data }) {
    if (operation === 'read') {
      const value = await storage.get(path)
      return value && { data: JSON.parse(Buffer.from(value).toString()) }
    }
    if (data.refuse) throw new BackendError('BACKEND_INVALID_REQUEST', 'refused as asked')
    if (operation === 'delete') await storage.delete(path)
    else await storage.put(path, Buffer.from(JSON.stringify(data)))
    return undefined
  },
})
const cubbyhole: BackendFactory = () => ({ type: 'cubbyhole', special: {}, handle: async () => undefined })

export interface Answer {
  status?: number
  data?: Record<string, unknown> | null
  warnings?: string[] | null
  auth?: { client_token: string }
  wrapToken?: string
  code?: string
  error?: string
  /** X-Vault-Index, shown when `headers` were given. */
  index?: string
}

export interface Node {
  readonly core: Core
  readonly store: Store
  readonly logged: string[]
  /** `host:port` of its listener, whatever it tells others. */
  readonly clusterEnd: string
  /** Root token by default. */
  token: string
  keys: string[]
  ask(
    operation: CoreRequest['operation'],
    path: string,
    data?: Record<string, unknown>,
    options?: { token?: string; headers?: Record<string, string> },
  ): Promise<Answer>
  status(kind: Kind): Promise<Record<string, unknown>>
  init(shares?: number, threshold?: number): Promise<void>
  unseal(keys?: string[]): Promise<void>
  /** Carries out what asks for a change of role, and waits until it is done or has failed; rejects when it is refused. */
  change(path: string, data?: Record<string, unknown>): Promise<'changed' | 'failed'>
  /** Ends the process, as far as the storage can tell; resolves with another one over the same storage, sealed. */
  restart(options?: Partial<NodeOptions>): Promise<Node>
  close(): Promise<void>
}

export type Kind = 'performance' | 'dr'

export interface NodeOptions {
  store?: Store
  clock?: { now(): number }
  autoSeal?: AutoSeal | undefined
  sealToMigrateFrom?: AutoSeal | undefined
  lock?: LeaderLock
  fenced?: (leadership: Leadership) => Promise<Store>
  clusterName?: string
  /** Cap of the retained log. */
  logBytes?: number
  /** Over the defaults. */
  core?: Partial<CoreOptions>
  factories?: { secret: ReadonlyMap<string, BackendFactory>; auth: ReadonlyMap<string, BackendFactory> }
}

const CHANGED = 'the replication role has changed'
const FAILED = 'changing the replication role failed'

export async function startNode(options: NodeOptions = {}): Promise<Node> {
  const store = options.store ?? memoryStore()
  const logged: string[] = []
  const record =
    (level: string) =>
    (message: string, fields: Record<string, unknown> = {}): void =>
      void logged.push(`${level}: ${message} ${JSON.stringify(fields)}`)
  const log = { debug: record('debug'), info: record('info'), warn: record('warn'), error: record('error') }
  const listener: ClusterListener = await clusterListener({ host: '127.0.0.1', port: 0 })
  const api = await apiServer(() => core)
  const core: Core = await createCore(
    {
      physical: store,
      ...{ lock: options.lock, autoSeal: options.autoSeal, sealToMigrateFrom: options.sealToMigrateFrom },
      ...(options.fenced === undefined ? {} : { fenced: options.fenced }),
      factories: options.factories ?? {
        secret: new Map([
          ['kv', kv],
          ['cubbyhole', cubbyhole],
        ]),
        auth: new Map(),
      },
      ...{ listener, parseHcl, log },
      clock: options.clock ?? { now: Date.now },
    },
    {
      ...{ version: '1.14.8', buildDate: '2026-01-01T00:00:00Z', storageType: 'inmem' },
      clusterName: options.clusterName ?? '',
      apiAddress: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
      clusterAddress: `https://127.0.0.1:${listener.address.port}`,
      ...{ defaultLeaseTtl: 3600, maxLeaseTtl: 7200, walWaitMs: 2000 },
      ...(options.logBytes === undefined ? {} : { logBytes: options.logBytes }),
      ...options.core,
    },
  ).catch(async (error) => {
    await listener.close()
    api.close()
    throw error
  })
  let closed = false

  const node: Node = {
    ...{ core, store, logged, clusterEnd: `127.0.0.1:${listener.address.port}` },
    token: '',
    keys: [],
    async ask(operation, path, data = {}, { token = node.token, headers } = {}) {
      try {
        const { status, envelope, index } = await core.handle(request(operation, path, data, token, headers))
        return {
          status,
          ...(headers === undefined || index === undefined ? {} : { index }),
          data: envelope?.data ?? null,
          warnings: envelope?.warnings ?? null,
          ...(envelope?.auth ? { auth: envelope.auth } : {}),
          ...(envelope?.wrap_info ? { wrapToken: envelope.wrap_info.token } : {}),
        }
      } catch (error) {
        const { code, message, index } = error as { code: string; message: string; index?: string }
        return { code, error: message, ...(headers === undefined || index === undefined ? {} : { index }) }
      }
    },
    async status(kind) {
      return (await node.ask('read', `sys/replication/${kind}/status`)).data ?? {}
    },
    async init(shares = 1, threshold = 1) {
      const field = options.autoSeal === undefined ? 'secret' : 'recovery'
      const made = await core.initialize({ [`${field}_shares`]: shares, [`${field}_threshold`]: threshold })
      node.token = made.root_token as string
      node.keys = (options.autoSeal === undefined ? made.keys : made.recovery_keys) as string[]
      await node.unseal()
    },
    async unseal(keys = node.keys) {
      if (options.autoSeal === undefined) for (const key of keys) await core.unseal({ key })
    },
    async change(path, data = {}) {
      const before = logged.length
      const answer = await node.ask('update', path, data)
      if (answer.error !== undefined) throw new Error(`${answer.code}: ${answer.error}`)
      return waitFor(`the change ${path}`, async () => {
        const since = logged.slice(before)
        if (since.some((line) => line.includes(FAILED))) return 'failed'
        // The services may still be on their way.
        const { state } = await core.health().catch(() => ({ state: 'sealed' }))
        return since.some((line) => line.includes(CHANGED)) && state !== 'standby' && 'changed'
      })
    },
    async restart(changed = {}) {
      await node.close()
      const next = await startNode({ ...options, ...changed, store })
      next.token = node.token
      next.keys = node.keys
      return next
    },
    async close() {
      if (closed) return
      closed = true
      await core.close().catch(() => {})
      await listener.close()
      await new Promise((resolve) => api.close(resolve))
    },
  }
  return node
}

function request(
  operation: CoreRequest['operation'],
  path: string,
  data: Record<string, unknown>,
  clientToken: string,
  headers: Record<string, string> = {},
): CoreRequest {
  return {
    ...{ id: 'test', operation, path, data, clientToken },
    ...{ headers, remoteAddress: '127.0.0.1', remotePort: 1, wrapTtl: 0, wrapFormat: '' },
  }
}

/** All that activation needs of the HTTP API. */
async function apiServer(core: () => Core): Promise<Server> {
  const server = createServer(async (incoming, outgoing) => {
    try {
      const token = String(incoming.headers['x-vault-token'])
      const answer = await core().handle(request('update', 'sys/wrapping/unwrap', {}, token))
      const body = answer.envelope ?? answer.bare ?? JSON.parse(String(answer.raw?.body))
      outgoing.writeHead(200).end(JSON.stringify(body))
    } catch (error) {
      outgoing.writeHead(400).end(JSON.stringify({ errors: [(error as Error).message] }))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

export async function waitFor<T>(what: string, probe: () => Promise<T | false | undefined>): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const found = await probe()
    if (found !== false && found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function activationToken(primary: Node, kind: Kind, id: string): Promise<string> {
  const issued = await primary.ask('update', `sys/replication/${kind}/primary/secondary-token`, { id, ttl: '5m' })
  if (issued.wrapToken === undefined) throw new Error(issued.error)
  return issued.wrapToken
}

/** Activates `secondary`, whose keys are the primary's then. */
export async function link(primary: Node, secondary: Node, kind: Kind, id: string): Promise<void> {
  const token = await activationToken(primary, kind, id)
  const outcome = await secondary.change(`sys/replication/${kind}/secondary/enable`, { token })
  if (outcome !== 'changed') throw new Error('the activation failed')
  secondary.keys = primary.keys
}

export function inSync(primary: Node, secondary: Node, kind: Kind): Promise<Record<string, unknown>> {
  return waitFor('both ends to agree', async () => {
    const [here, there] = [await primary.status(kind), await secondary.status(kind)]
    return there.state === 'stream-wals' && here.merkle_root === there.merkle_root && there
  })
}

/** By the shares the node's operators hold. */
export async function generate(node: Node, kind: 'root' | 'dr-operation', keys = node.keys): Promise<string> {
  const { nonce, otp, required } = (await node.core.generateRoot(kind, 'start', {}))!
  let last: Record<string, unknown> | undefined
  for (const key of keys.slice(0, required as number)) {
    last = await node.core.generateRoot(kind, 'update', { key, nonce })
  }
  const password = Buffer.from(otp as string)
  return Buffer.from(
    Buffer.from(last!.encoded_token as string, 'base64').map((byte, place) => byte ^ password[place]!),
  ).toString()
}
