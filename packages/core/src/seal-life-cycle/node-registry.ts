/**
 * What nodes over one storage know of each other: every node notes its state every few seconds in a record of its own, outside of the
 * generations and of the barrier, so that a sealed one can. It informs operators and decides nothing; whoever can write to the storage
 * can write what it likes here.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { Store } from '@lockstep/storage'
import type { Clock, Log } from '../contracts.ts'
import { periodicWork } from '../services/periodic-work.ts'

export interface NodeRecord {
  /** The URL clients reach the node at. */
  name: string
  /** The URL other nodes and clusters reach its cluster port at; "" when not known. */
  clusterAddress: string
  /** Of the machine; "" when not known. */
  hostname: string
  version: string
  state: 'sealed' | 'standby' | 'active'
  /** ms since the epoch, by the node's own clock. */
  seenAt: number
}

export interface NodeRegistry {
  /** Those heard of within the last minute. */
  nodes(): Promise<NodeRecord[]>
  stop(): Promise<void>
}

const PREFIX = 'nodes/'
const INTERVAL_MS = 5_000
const FORGOTTEN_MS = 60_000
/** Killed nodes leave their record, each under a name of its own where addresses are given out anew. Longer than clocks may differ. */
const DELETED_MS = 24 * 3_600_000
/** More nodes than any cluster has. */
const MAX_NODES = 64
const MAX_TEXT = 500
const STATES: readonly unknown[] = ['sealed', 'standby', 'active']

export interface NodeRegistryComponents {
  physical: Pick<Store, 'put' | 'delete' | 'scan'>
  /** "" when it is not configured. */
  address: string
  clusterAddress: string
  hostname: string
  version: string
  state(): NodeRecord['state']
  clock: Clock
  log: Log
}

export function nodeRegistry(components: NodeRegistryComponents): NodeRegistry {
  const { physical, address, clusterAddress, hostname, version, state, clock, log } = components
  const name = address || `unnamed node ${randomUUID().slice(0, 8)}`
  const key = PREFIX + createHash('sha256').update(name).digest('hex').slice(0, 32)
  let stopped = false

  async function note(): Promise<void> {
    if (stopped) return
    const seenAt = clock.now()
    const record: NodeRecord = { name, clusterAddress, hostname, version, state: state(), seenAt }
    await physical.put(key, new TextEncoder().encode(JSON.stringify(record)))
  }
  // A storage in trouble says so elsewhere.
  const quietly = (): Promise<void> =>
    note().catch((error: unknown) => log.debug('the state of this node was not noted', { error: String(error) }))
  const first = quietly()
  const stop = periodicWork(log, quietly, INTERVAL_MS)

  return {
    async nodes() {
      const found: NodeRecord[] = []
      for await (const { key, ...record } of registeredNodes(physical)) {
        const age = clock.now() - record.seenAt
        if (age < FORGOTTEN_MS && found.length < MAX_NODES) found.push(record)
        if (age > DELETED_MS) await physical.delete(key)
      }
      return found
    },
    async stop() {
      stopped = true
      await Promise.all([first, stop()])
      await physical.delete(key).catch(() => {})
    },
  }
}

/** All that have left a record and not taken it away, however long ago. */
export async function* registeredNodes(physical: Pick<Store, 'scan'>): AsyncGenerator<NodeRecord & { key: string }> {
  for await (const [key, value] of physical.scan({ prefix: PREFIX })) {
    const record = parse(value)
    if (record !== undefined) yield { ...record, key }
  }
}

function parse(value: Uint8Array): NodeRecord | undefined {
  try {
    const record = JSON.parse(new TextDecoder().decode(value)) as Record<string, unknown>
    const { name, state, seenAt } = record
    if (typeof name !== 'string' || name.length > MAX_TEXT || typeof seenAt !== 'number') return undefined
    if (!STATES.includes(state)) return undefined
    return {
      ...{ name, clusterAddress: text(record.clusterAddress), hostname: text(record.hostname) },
      ...{ version: text(record.version), state: state as NodeRecord['state'], seenAt },
    }
  } catch {
    return undefined
  }
}

/** "" for what is absent, as in records of older versions, or no text. */
function text(value: unknown): string {
  return typeof value === 'string' && value.length <= MAX_TEXT ? value : ''
}
