/** A cluster of one node with its own directory, storage and addresses, initialised and unsealed. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { type ServerProcess, startServerProcess } from './server-process.ts'
import { type VaultClient, vaultClient } from './vault-client.ts'
import { waitFor } from './wait-for.ts'

export interface ClusterOptions {
  /** Directory for configuration, data and log; made when missing. */
  directory: string
  name: string
  /** Default 1 of 1. Ignored when the configuration has an auto seal (then: of the recovery key). */
  shares?: number
  threshold?: number
  /** Merged into the configuration, over the defaults. */
  config?: Record<string, unknown>
  /** Leave the cluster uninitialised. Default false. */
  bare?: boolean
  env?: Record<string, string>
  /** Flags of node itself, for profiles. */
  nodeArgs?: readonly string[]
}

export interface Cluster {
  readonly name: string
  readonly directory: string
  readonly address: string
  readonly clusterAddress: string
  /** Holds the root token once initialised. */
  readonly client: VaultClient
  /** Unseal shares (hex), or recovery shares with an auto seal. After activation as a secondary: set them to the primary's. */
  keys: string[]
  process: ServerProcess
  /** Of the process; changes count from the next start. */
  readonly env: Record<string, string>
  unseal(): Promise<void>
  /** Ends the process (default SIGTERM) without starting it again. */
  stop(signal?: NodeJS.Signals): Promise<void>
  /** Starts the process again on the same directory and addresses, and unseals it. */
  start(): Promise<void>
  /** The same without unsealing. */
  startSealed(): Promise<void>
}

/** What the steps of replication need of a cluster, of one node or several. */
export type ClusterAccess = Pick<Cluster, 'name' | 'client' | 'keys'>

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { directory, name } = options
  await mkdir(directory, { recursive: true })
  const [apiPort, clusterPort] = [await freePort(), await freePort()]
  const address = `http://127.0.0.1:${apiPort}`
  const clusterAddress = `https://127.0.0.1:${clusterPort}`
  const configFile = join(directory, 'config.json')
  const config = {
    cluster_name: name,
    storage: { level: { path: join(directory, 'data') } },
    listener: [
      { tcp: { address: `127.0.0.1:${apiPort}`, cluster_address: `127.0.0.1:${clusterPort}`, tls_disable: true } },
    ],
    api_addr: address,
    cluster_addr: clusterAddress,
    disable_mlock: true,
    log_level: 'info',
    ...options.config,
  }
  await writeFile(configFile, JSON.stringify(config, null, 2))

  const env = { ...options.env }
  const launch = (): Promise<ServerProcess> =>
    startServerProcess(['server', `-config=${configFile}`], {
      logFile: join(directory, 'server.log'),
      env,
      nodeArgs: options.nodeArgs,
    })
  const client = vaultClient(address)

  const cluster: Cluster = {
    name,
    directory,
    address,
    clusterAddress,
    client,
    keys: [],
    env,
    process: await launch(),
    async unseal() {
      const status = await client.read('sys/seal-status')
      if (!status.body.sealed) return
      if (status.body.type === 'shamir') {
        for (const key of cluster.keys.slice(0, status.body.t)) await client.write('sys/unseal', { key })
      }
      await waitFor(`${name} to be active`, async () => {
        const health = await client.call('GET', 'sys/health')
        return [200, 472, 473].includes(health.status)
      })
    },
    async stop(signal) {
      await cluster.process.stop(signal)
    },
    async start() {
      await cluster.startSealed()
      await cluster.unseal()
    },
    async startSealed() {
      cluster.process = await launch()
    },
  }
  if (!options.bare) await initialise(cluster, options)
  return cluster
}

async function initialise(cluster: Cluster, { shares = 1, threshold = 1 }: ClusterOptions): Promise<void> {
  const { client } = cluster
  const auto = (await client.read('sys/seal-status')).body.type !== 'shamir'
  const counts = auto
    ? { recovery_shares: shares, recovery_threshold: threshold }
    : { secret_shares: shares, secret_threshold: threshold }
  const { body } = await client.write('sys/init', counts)
  cluster.keys = auto ? body.recovery_keys : body.keys
  client.token = body.root_token
  await cluster.unseal()
}
