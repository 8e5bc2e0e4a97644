/** A cluster of several nodes over one storage, with a static seal: each node unseals itself whenever it starts. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { VaultClient } from '../vault-client.ts'
import { waitFor } from '../wait-for.ts'
import { type FaultProxy, faultProxy } from './fault-proxy.ts'
import { activeClient, anyNodeClient } from './ha-client.ts'
import { type HaNode, type NodeState, startHaNode } from './ha-node.ts'
import { type StorageKind, type StorageServer, startStorageServer } from './storage-server.ts'

export interface HaClusterOptions {
  /** For the nodes' configurations and logs; made when missing. */
  directory: string
  name: string
  /** A kind is started and goes with the cluster; a server that runs already is left running. */
  storage: StorageKind | StorageServer
  /** Default 3. */
  nodes?: number
  /** Put a proxy between each node and the storage, and before each node's cluster port. Default false. */
  faults?: boolean
  /** Merged into every node's configuration, over the defaults. */
  config?: Record<string, unknown>
  env?: Record<string, string>
  /** Told before the first node is started how to end whatever has been, for a program that may be interrupted. */
  begun?(end: () => Promise<void>): void
}

export interface HaCluster {
  readonly name: string
  readonly directory: string
  readonly nodes: readonly HaNode[]
  readonly storage: StorageServer
  /** Finds the active node; holds the root token. */
  readonly client: VaultClient
  /** Recovery shares (hex). After activation as a secondary: set them to the primary's. */
  keys: string[]
  /** With `faults`, by node: the way from the node to the storage, and the way from anywhere to its cluster port. */
  readonly links: readonly { storage: FaultProxy; cluster: FaultProxy }[]
  /** A client of its own that asks the node of this number first; see `anyNodeClient`. */
  clientOf(node: number, token?: string): VaultClient
  states(): Promise<NodeState[]>
  /** Waits until exactly one node says it is active, at most 60 s. */
  active(): Promise<HaNode>
  /** Ends everything, at once. Idempotent. */
  stop(): Promise<void>
}

export async function haCluster(options: HaClusterOptions): Promise<HaCluster> {
  const { directory, name, config, env } = options
  const given = typeof options.storage === 'string' ? undefined : options.storage
  const storage = given ?? (await startStorageServer(options.storage as StorageKind))
  options.begun?.(stop)
  const nodes: HaNode[] = []
  const links: { storage: FaultProxy; cluster: FaultProxy }[] = []
  let client: VaultClient | undefined

  async function stop(): Promise<void> {
    client?.close()
    await Promise.all(nodes.map((node) => node.kill()))
    for (const node of nodes) node.client.close()
    await Promise.all(links.flatMap((link) => [link.storage.close(), link.cluster.close()]))
    if (given === undefined) await storage.stop()
  }

  try {
    const seal = { static: { current_key_id: name, current_key: randomBytes(32).toString('hex') } }
    for (let number = 1; number <= (options.nodes ?? 3); number++) {
      const link = options.faults && { storage: await faultProxy(storage.address), cluster: await faultProxy() }
      if (link) links.push(link)
      const nodeName = `${name}-${number}`
      const node = await startHaNode({
        directory: join(directory, nodeName),
        name: nodeName,
        env,
        config: {
          cluster_name: name,
          storage: storage.block({ cluster: name, node: nodeName }, link ? link.storage.address : undefined),
          seal,
          ...(link ? { cluster_addr: `https://${link.cluster.address}` } : {}),
          ...config,
        },
      })
      nodes.push(node)
      if (link) link.cluster.to(node.clusterPort)
    }
    const first = nodes[0]!
    // On a busy machine the storage may not be quick enough yet; what failed has initialised nothing.
    const { body } = await waitFor(`${name} to be initialised`, () =>
      first.client.write('sys/init', { recovery_shares: 1, recovery_threshold: 1 }),
    )
    const addresses = nodes.map((node) => node.address)
    client = activeClient(addresses, body.root_token)
    const cluster: HaCluster = {
      name,
      directory,
      nodes,
      storage,
      client,
      keys: body.recovery_keys,
      links,
      clientOf: (node, token = cluster.client.token) => anyNodeClient(addresses, node, token),
      states: () => Promise.all(nodes.map((node) => node.state())),
      active: () => active(cluster),
      stop,
    }
    await cluster.active()
    await waitFor(`${name}'s standbys`, async () =>
      (await cluster.states()).every((state) => /active|standby/.test(state)),
    )
    return cluster
  } catch (error) {
    await stop()
    throw error
  }
}

function active(cluster: HaCluster): Promise<HaNode> {
  return waitFor(`${cluster.name} to have one active node`, async () => {
    const states = await cluster.states()
    const found = cluster.nodes.filter((_, index) => states[index] === 'active')
    return found.length === 1 && found[0]
  })
}
