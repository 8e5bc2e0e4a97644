/**
 * A cluster of several nodes in one process: one memory store and one leader lock. A leader's writes are fenced by its leadership: those
 * under way when it ends are over before the next one begins, as a real storage sees to.
 */
import { type FaultProxy, faultProxy } from '@lockstep/dev-env'
import { type MemoryLeaderLock, memoryLeaderLock, memoryStore, StorageError, type Store } from '@lockstep/storage'
import { type Answer, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'
import { interceptedWrites } from '../intercepted-writes.ts'

export interface HaNode extends Node {
  readonly name: string
  /** Before its cluster port, when asked for. */
  readonly proxy: FaultProxy | undefined
  /** Nothing of it reaches the storage any more, its lock is free and its cluster port closed. */
  kill(): Promise<void>
}

export interface HaCluster {
  readonly name: string
  readonly nodes: HaNode[]
  /** The one that leads. Waits until there is one. */
  active(): Promise<HaNode>
  standbys(): Promise<HaNode[]>
  /** The lead is taken from its holder, as by a storage that lost sight of it. Resolves with the next leader. */
  revoke(): Promise<HaNode>
  /** Kills the active node. Resolves with the next leader. */
  kill(): Promise<HaNode>
  /** A new node over the same storage. Unsealed with `keys`. */
  add(keys: readonly string[]): Promise<HaNode>
  close(): Promise<void>
}

export interface HaClusterOptions extends Partial<NodeOptions> {
  /** Others reach each node's cluster port through a proxy of its own. Default false. */
  proxied?: boolean
}

/** Initialised, every node unsealed. */
export async function haCluster(name: string, count: number, options: HaClusterOptions = {}): Promise<HaCluster> {
  const store = memoryStore()
  const lock = memoryLeaderLock()
  const writing = new Set<Promise<unknown>>()
  const nodes: HaNode[] = []
  let made = 0

  async function add(keys: readonly string[]): Promise<HaNode> {
    const node = await startHaNode(`${name}-${++made}`, { store, lock, writing }, options)
    nodes.push(node)
    node.keys = [...keys]
    if (nodes.length > 1) node.token = nodes[0]!.token
    if (keys.length > 0) await node.unseal()
    return node
  }

  const leads = async (node: HaNode): Promise<boolean> =>
    (await node.core.leader().catch(() => undefined))?.is_self === true

  const cluster: HaCluster = {
    name,
    nodes,
    active: () =>
      waitFor(`a leader of ${name}`, async () => {
        for (const node of nodes) if (await leads(node)) return node
        return undefined
      }),
    async standbys() {
      const active = await cluster.active()
      return nodes.filter((node) => node !== active)
    },
    async revoke() {
      const before = await cluster.active()
      lock.revoke()
      return waitFor(`another leader of ${name}`, async () => {
        const active = await cluster.active()
        return active !== before && active
      })
    },
    async kill() {
      const before = await cluster.active()
      nodes.splice(nodes.indexOf(before), 1)
      await before.kill()
      return cluster.active()
    },
    add,
    async close() {
      await Promise.all(nodes.map((node) => node.close()))
    },
  }
  const first = await add([])
  await first.init()
  for (let n = 1; n < count; n++) await add(first.keys)
  await cluster.active()
  return cluster
}

async function startHaNode(
  name: string,
  { store, lock, writing }: { store: Store; lock: MemoryLeaderLock; writing: Set<Promise<unknown>> },
  { proxied = false, ...options }: HaClusterOptions,
): Promise<HaNode> {
  const proxy = proxied ? await faultProxy() : undefined
  let dead = false
  let token: bigint | undefined
  const own = interceptedWrites(store, async (write) => {
    if (dead) throw new StorageError('STORAGE_UNAVAILABLE', `${name} is dead`)
    const written = write()
    writing.add(written)
    try {
      return await written
    } finally {
      writing.delete(written)
    }
  })
  const node = await startNode({
    ...options,
    ...(proxy === undefined ? {} : { core: { ...options.core, clusterAddress: `https://${proxy.address}` } }),
    store: own,
    lock: {
      holder: () => lock.holder(),
      async acquire(signal) {
        const held = await lock.acquire(signal)
        token = held.fencingToken
        await Promise.allSettled(writing)
        return held
      },
    },
    async fenced({ fencingToken, lost }) {
      let ended = false
      void lost.then(() => {
        ended = true
      })
      const fenced = interceptedWrites(own, async (write) => {
        if (ended) throw new StorageError('STORAGE_NOT_LEADER', `the leadership ${fencingToken} has ended`)
        return write()
      })
      return { ...fenced, close: async () => {} }
    },
  })
  proxy?.to(node.clusterEnd)
  const { close } = node
  return Object.assign(node, {
    ...{ name, proxy },
    async close() {
      await proxy?.close()
      await close()
    },
    async kill() {
      dead = true
      if (token !== undefined) lock.revoke()
      await node.close()
    },
  })
}

/** Writes one key after another at whichever node leads, until it is stopped; knows what was acknowledged. */
export interface Writer {
  readonly acknowledged: readonly string[]
  /** Resolves after `count` more. */
  more(count: number): Promise<void>
  stop(): Promise<void>
}

export function writer(cluster: HaCluster, prefix: string): Writer {
  const acknowledged: string[] = []
  let stopped = false
  async function run(): Promise<void> {
    for (let n = 0; !stopped; n++) {
      const key = `${prefix}/${n}`
      while (!stopped) {
        const node = await cluster.active()
        const answer: Answer = await node.ask('update', key, { n })
        if (answer.code === undefined) break
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
      if (!stopped) acknowledged.push(key)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const running = run()
  return {
    acknowledged,
    async more(count) {
      const goal = acknowledged.length + count
      await waitFor(`${count} more writes`, async () => acknowledged.length >= goal)
    },
    async stop() {
      stopped = true
      await running
    },
  }
}
