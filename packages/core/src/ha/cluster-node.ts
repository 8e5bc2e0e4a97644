/** What a node of a cluster of several does beside the services: leads its standbys, or stands by and forwards to who leads. */
import { randomUUID } from 'node:crypto'
import type { ClusterListener } from '@lockstep/replication-transport'
import type { LeaderLock } from '@lockstep/storage'
import { type Clock, CoreError, type Log } from '../contracts.ts'
import type { Meter } from '../metrics/meter.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { periodicWork } from '../services/periodic-work.ts'
import { encodeAdvertisement } from './advertisement.ts'
import { forwardingClient, NO_LEADER } from './forwarding-client.ts'
import { type ForwardingServer, forwardingServer, type StandbyEcho } from './forwarding-server.ts'
import type { ForwardedAnswer, ForwardedRequest } from './http.ts'
import { type Leader, leaderWatch } from './leader-watch.ts'
import type { Leading } from './leading.ts'
import { ensureNodeTrust } from './node-trust.ts'
import type { NodeAbout } from './wire.ts'

export type ServeForwarded = (request: ForwardedRequest) => Promise<ForwardedAnswer>

export interface ClusterNode {
  /** For a node that has taken the lead and holds the keys of the storage. */
  lead(unsealed: Unsealed): Promise<Leading>
  /** Of another node that leads. */
  leader(): Promise<Leader | undefined>
  /** See `ForwardingClient`. Where this node leads meanwhile, its own answer. */
  forward(request: ForwardedRequest, options?: { holdMs?: number }): Promise<ForwardedAnswer | { redirect: string }>
  /** What answers requests of standbys; until it is given they are told that this node is not active yet. */
  serve(handle: ServeForwarded): void
  /** While this node leads. */
  echoes(): StandbyEcho[]
  /** What `sys/health` of a standby adds: whether the active node has answered within the last echoes. */
  health(): Record<string, unknown>
  stop(): Promise<void>
}

export interface ClusterNodeComponents {
  lock: Pick<LeaderLock, 'holder'>
  listener: Pick<ClusterListener, 'register'>
  standsBy(): boolean
  /** Whether this node leads and takes requests. */
  serves(): boolean
  /** Undefined while sealed. */
  unsealed(): Unsealed | undefined
  modes(): Promise<{ performance: string; dr: string }>
  clock: Clock
  log: Log
}

export interface ClusterNodeOptions {
  about: NodeAbout
  /** False: requests are always redirected, to this node and by it. */
  forwarding: boolean
  meter?: Meter
}

const KEEP_MS = 1000
/** Two echoes and some patience. */
const HEALTHY_MS = 15_000

export function clusterNode(components: ClusterNodeComponents, options: ClusterNodeOptions): ClusterNode {
  const { lock, listener, standsBy, serves, unsealed, modes, clock, log } = components
  const { about, forwarding, meter } = options
  let own = ''
  let server: ForwardingServer | undefined
  const notActive: ServeForwarded = async () => {
    throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
  }
  let handle = notActive
  const watch = leaderWatch({ lock, unsealed, isOwn: (term) => term === own, clock, log })
  const client = forwardingClient({ watch, about, standsBy, here: (request) => handle(request), clock, log, meter })
  const stopKeeping = periodicWork(
    log,
    async () => {
      if (!forwarding || !standsBy()) return client.retire('this node does not stand by')
      // A storage in trouble says so elsewhere.
      await client.keep().catch(() => {})
    },
    KEEP_MS,
  )

  return {
    async lead(keys) {
      client.retire('this node leads')
      own = randomUUID()
      const trust = await ensureNodeTrust(keys.barrier, clock.now())
      const serve: ServeForwarded = (request) => (serves() ? handle(request) : notActive(request))
      const components = { listener, trust, handle: serve, modes, clock, log }
      const opened = forwarding ? await forwardingServer(components, { term: own }) : undefined
      server = opened
      const advertisement = {
        ...{ apiAddress: about.apiAddress, clusterAddress: forwarding ? about.clusterAddress : '' },
        ...{ term: own, ca: trust.fingerprint, activeSince: clock.now() },
      }
      return {
        advertisement: encodeAdvertisement(advertisement, trust.advertisementKey),
        async stop() {
          if (server === opened) server = undefined
          await opened?.stop()
        },
      }
    },
    leader: () => watch.current(),
    async forward(request, forwardOptions) {
      if (forwarding) return client.forward(request, forwardOptions)
      const leader = await watch.current()
      if (leader === undefined) throw new CoreError('CORE_STANDBY', NO_LEADER)
      return { redirect: leader.apiAddress }
    },
    serve(next) {
      handle = next
    },
    echoes: () => server?.echoes() ?? [],
    health() {
      const last = client.lastEcho()
      const age = clock.now() - last
      return {
        ha_connection_healthy: last !== 0 && age < HEALTHY_MS,
        ...(last === 0 ? {} : { last_request_forwarding_heartbeat_ms: Math.max(0, age) }),
      }
    },
    async stop() {
      await stopKeeping()
      client.close('this node is closing')
    },
  }
}
