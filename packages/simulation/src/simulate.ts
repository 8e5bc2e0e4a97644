/** One seed: a topology, a time of faults, then quiet; and the invariants that must hold at the end. */
import type { WriteOperation } from '@lockstep/storage'
import { checks } from './checks.ts'
import { clients } from './clients.ts'
import { type Cluster, type Following, json, type Role, simulatedCluster } from './cluster.ts'
import { faultyTime } from './faulty-time.ts'
import { type Kernel, kernel } from './kernel.ts'
import { CLUSTER_ROLE, DR_MEMBERS, MEMBERS, type Mount } from './keys.ts'
import { simulatedNetwork } from './network.ts'
import { operator } from './operator.ts'
import { quietTime } from './quiet-time.ts'
import { randomFilter, type World } from './world.ts'

export interface Outcome {
  seed: number
  /** Equal for equal runs. */
  hash: string
  events: number
  virtualMs: number
  acknowledged: number
  diffs: number
  failure?: { invariant: string; message: string; trace: readonly string[] }
}

let failCurrent: ((error: unknown) => void) | undefined
const watchRejections = (): void => {
  if (process.listenerCount('unhandledRejection') > 0) return
  process.on('unhandledRejection', (error) => failCurrent?.(error))
}

export async function simulate(seed: number, options: { print?: (line: string) => void } = {}): Promise<Outcome> {
  watchRejections()
  const core = kernel(seed, options)
  failCurrent = (error) => core.fail('unhandled rejection', (error as Error)?.stack ?? String(error))
  const world = buildWorld(core)
  const outcome = (): Outcome => ({
    seed,
    hash: core.traceHash(),
    events: core.events,
    virtualMs: core.elapsed(),
    acknowledged: world.clients.acknowledged.length,
    diffs: world.checks.diffs,
  })
  try {
    let ready = false
    setUp(world).then(
      () => {
        ready = true
      },
      (error) => core.fail('setup', (error as Error).stack ?? String(error)),
    )
    await core.run(() => ready)
    await faultyTime(world)
    await quietTime(world)
    // What nobody waited for shows up here.
    await new Promise((resolve) => setImmediate(resolve))
    await core.run(() => true)
    return outcome()
  } catch (error) {
    const { invariant = 'error', message, stack } = error as { invariant?: string; message: string; stack: string }
    const text = invariant === 'error' ? stack : message
    return { ...outcome(), failure: { invariant, message: text, trace: core.lines.slice() } }
  } finally {
    for (const cluster of world.clusters.values()) cluster.node?.process.kill()
    failCurrent = undefined
  }
}

function buildWorld(core: Kernel): World {
  const { random } = core
  const clusters = new Map<string, Cluster>()
  const roles = new Map<string, Role>()
  const held = new Set<string>()
  /** Nobody starts a cluster while its new disk is being prepared, in quiet times neither. */
  const replacing = new Set<string>()
  const find = (name: string): Cluster => clusters.get(name)!
  const watch = checks(core, clusters, find)
  const network = simulatedNetwork({ kernel: core, onSend: watch.onSend })
  const settings = {
    logBytes: random.chance(0.3) ? random.pick([2000, 5000, 12_000]) : 64 * 1024 * 1024,
    tailBytes: random.pick([0, 400, 1024 * 1024]),
    cacheBytes: random.pick([0, 4096, 1024 * 1024]),
    trimDelayMs: random.pick([50, 500]),
    batchBytes: random.pick([200, 2000, 512 * 1024]),
    windowBytes: random.pick([1000, 4 * 1024 * 1024]),
    answerBytes: random.pick([200, 256 * 1024]),
    tickMs: random.pick([250, 500, 1000]),
  }

  const bringUp = (cluster: Cluster): void => {
    core.at(random.between(50, 1500), () => {
      if (cluster.node !== undefined) return
      if (held.has(cluster.name) || replacing.has(cluster.name)) return bringUp(cluster)
      cluster.start().catch((error) => {
        core.trace(`${cluster.name} does not start: ${(error as Error).message}`)
        if (cluster.disk.corrupt) world.replaceDisk(cluster)
        else {
          cluster.crash('while starting')
        }
      })
    })
  }

  const topology = layOut(core)
  for (const [name, role] of topology) {
    roles.set(name, role)
    const cluster = simulatedCluster(
      {
        kernel: core,
        network,
        settings,
        find,
        onDurable: watch.onDurable,
        onViewChanged: watch.onViewChanged,
        onDown: bringUp,
      },
      name,
    )
    clusters.set(name, cluster)
  }
  const users = clients(core, watch)
  const first = find('A')
  const people = operator({ kernel: core, checks: watch, clients: users, clusters, first, roles })

  const world: World = {
    kernel: core,
    network,
    clusters,
    roles,
    checks: watch,
    clients: users,
    operator: people,
    held,
    settings,
    replaceDisk(cluster) {
      core.trace(`operator: a new disk for ${cluster.name}`)
      watch.forget(cluster.name)
      replacing.add(cluster.name)
      cluster.replaceDisk()
      const members = [...roles].filter(([, { dr }]) => dr.mode === 'secondary' && dr.upstream === cluster.name)
      const also = members.map(([id]): WriteOperation => ({ type: 'put', key: DR_MEMBERS + id, value: json({}) }))
      cluster.prepare(roles.get(cluster.name)!, also).then(
        () => {
          replacing.delete(cluster.name)
          bringUp(cluster)
        },
        (error) => {
          // The new disk has faults of its own: another one.
          core.trace(`operator: ${(error as Error).message}`)
          world.replaceDisk(cluster)
        },
      )
    },
  }
  return world
}

/** A is the performance primary; B its DR secondary, C1 and so on performance secondaries, D the DR secondary of C1. */
function layOut({ random }: Kernel): Map<string, Role> {
  const follow = (upstream: string, id: string, clusterId: string): Following => ({
    mode: 'secondary',
    clusterId,
    id,
    upstream,
  })
  const withDr = random.chance(0.7)
  const withSecondDr = random.chance(0.3)
  const secondaries = withDr ? random.pick([0, 1, 1, 2]) : random.pick([1, 1, 2, 3])
  const topology = new Map<string, Role>()
  topology.set('A', {
    dr: withDr ? { mode: 'primary', clusterId: 'dr-of-A' } : { mode: 'disabled' },
    performance: { mode: 'disabled' },
  })
  if (withDr) topology.set('B', { dr: follow('A', 'B', 'dr-of-A'), performance: { mode: 'disabled' } })
  for (let n = 1; n <= secondaries; n++) {
    const role: Role = { dr: { mode: 'disabled' }, performance: follow('A', `C${n}`, 'performance-set') }
    topology.set(`C${n}`, role)
    if (n > 1 || !withSecondDr) continue
    role.dr = { mode: 'primary', clusterId: 'dr-of-C1' }
    topology.set('D', { dr: follow('C1', 'D', 'dr-of-C1'), performance: { mode: 'disabled' } })
  }
  return topology
}

async function setUp({ clusters, roles, kernel: { random } }: World): Promise<void> {
  for (const [name, cluster] of clusters) {
    const also: WriteOperation[] = []
    if (name === 'A') {
      also.push({ type: 'put', key: CLUSTER_ROLE, value: json({ mode: 'primary' }) })
      for (const id of clusters.keys()) {
        if (!id.startsWith('C')) continue
        also.push({ type: 'put', key: MEMBERS + id, value: json({ filter: randomFilter(random) }) })
      }
    }
    for (const [id, { dr }] of roles) {
      if (dr.mode === 'secondary' && dr.upstream === name) {
        also.push({ type: 'put', key: DR_MEMBERS + id, value: json({}) })
      }
    }
    await cluster.prepare(roles.get(name)!, also)
  }
  for (const cluster of clusters.values()) await cluster.start()
  const leader = clusters.get('A')!
  const mounts: Mount[] = [
    { uuid: 'm1', path: 'secret/', local: false },
    { uuid: 'm2', path: 'pii/', local: false },
  ]
  for (const mount of mounts) await leader.saveMount(mount)
}
