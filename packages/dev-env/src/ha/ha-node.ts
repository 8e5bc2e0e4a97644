/** One of several nodes over one storage: a server process that can be killed, stopped for a while and started again. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../free-port.ts'
import { type ServerProcess, startServerProcess } from '../server-process.ts'
import { type VaultClient, vaultClient } from '../vault-client.ts'
import { leads } from './ha-client.ts'

export type NodeState = 'active' | 'standby' | 'sealed' | 'uninitialized' | 'away'

export interface HaNode {
  readonly name: string
  /** Where its configuration and its log are. */
  readonly directory: string
  readonly address: string
  /** `host:port` of its own cluster port, which a proxy may stand before. */
  readonly clusterPort: string
  /** Talks to this node only and follows nothing. */
  readonly client: VaultClient
  readonly process: ServerProcess
  /** By `sys/health`, on a DR secondary by `sys/leader`; "away" when there is no answer within two seconds. */
  state(): Promise<NodeState>
  /** SIGKILL; resolves once the process has ended. */
  kill(): Promise<void>
  /** SIGSTOP: it keeps its connections and does nothing. */
  pause(): void
  resume(): void
  /** SIGTERM; resolves once the process has ended. */
  stop(): Promise<void>
  /** Once it listens, which is before it is unsealed. Does nothing while it runs. */
  start(): Promise<void>
}

export interface HaNodeOptions {
  directory: string
  name: string
  /** Merged into the configuration; with `storage`. */
  config: Record<string, unknown>
  env?: Record<string, string>
}

const STATES: Record<number, NodeState> = {
  200: 'active',
  473: 'active',
  429: 'standby',
  503: 'sealed',
  501: 'uninitialized',
}

export async function startHaNode({ directory, name, config, env }: HaNodeOptions): Promise<HaNode> {
  await mkdir(directory, { recursive: true })
  const [apiPort, clusterPort] = [await freePort(), await freePort()]
  const address = `http://127.0.0.1:${apiPort}`
  const clusterEnd = `127.0.0.1:${clusterPort}`
  const configFile = join(directory, 'config.json')
  const tcp = { address: `127.0.0.1:${apiPort}`, cluster_address: clusterEnd, tls_disable: true }
  const full = {
    listener: [{ tcp }],
    api_addr: address,
    cluster_addr: `https://${clusterEnd}`,
    disable_mlock: true,
    log_level: 'info',
    ...config,
  }
  await writeFile(configFile, JSON.stringify(full, null, 2), { mode: 0o600 })
  const launch = (): Promise<ServerProcess> =>
    startServerProcess(['server', `-config=${configFile}`], { logFile: join(directory, 'server.log'), env })
  let process = await launch()
  let running = true
  const client = vaultClient(address)

  async function end(signal: NodeJS.Signals): Promise<void> {
    running = false
    // A stopped process acts on no signal but SIGKILL.
    if (signal !== 'SIGKILL') process.signal('SIGCONT')
    await process.stop(signal)
  }

  return {
    name,
    directory,
    address,
    clusterPort: clusterEnd,
    client,
    get process() {
      return process
    },
    async state() {
      if (!running) return 'away'
      const reply = await client.call('GET', 'sys/health', undefined, { timeoutMs: 2000 }).catch(() => undefined)
      if (reply?.status === 472) return (await leads(client)) ? 'active' : 'standby'
      return (reply && STATES[reply.status]) ?? 'away'
    },
    kill: () => end('SIGKILL'),
    pause: () => process.signal('SIGSTOP'),
    resume: () => process.signal('SIGCONT'),
    stop: () => end('SIGTERM'),
    async start() {
      if (running) return
      process = await launch()
      running = true
    },
  }
}
