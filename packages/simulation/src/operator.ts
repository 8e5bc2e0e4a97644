/** The people: role changes step by step, each repeated until it is done, as in `core`'s role-changes over the driver's parts. */
import { type Cursor, encodePosition } from '@lockstep/replication'
import { recordsAfter } from '@lockstep/replication-driver'
import type { Checks } from './checks.ts'
import type { Clients } from './clients.ts'
import { type Cluster, json, type Node, type Role } from './cluster.ts'
import type { Kernel } from './kernel.ts'
import { DR_MEMBERS, mayTravel, positionKey } from './keys.ts'

export interface Operator {
  /** Performance and DR primary of the set. */
  readonly leader: Cluster
  /** A role change is under way: no client writes to the leader. */
  readonly draining: boolean
  readonly busy: boolean
  /** The leader's DR secondary takes over, nothing lost. */
  planned(next: Cluster): void
  /** It takes over without the leader, which comes back later and rejoins. */
  unplanned(next: Cluster, options: { comesBack: () => void }): void
  /** Points a performance secondary at a cluster. */
  point(secondary: Cluster, upstream: Cluster): void
}

export interface OperatorComponents {
  kernel: Kernel
  checks: Checks
  clients: Clients
  clusters: ReadonlyMap<string, Cluster>
  first: Cluster
  /** What each cluster was last made. */
  roles: Map<string, Role>
}

export function operator({ kernel, checks, clients, clusters, first, roles }: OperatorComponents): Operator {
  const { random } = kernel
  let leader = first
  let draining = false
  let tasks = 0

  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void kernel.at(ms, resolve))

  /** Runs the step on a live node, again when it fails or the node dies meanwhile. */
  const insist = async (cluster: Cluster, step: (node: Node) => Promise<void>): Promise<void> => {
    for (;;) {
      const { node } = cluster
      if (node !== undefined) {
        const outcome = await new Promise<string>((resolve) => {
          node.process.onKill(() => resolve('died'))
          step(node).then(
            () => resolve(''),
            (error) => resolve(String(error.message)),
          )
        })
        if (outcome === '') return
        kernel.trace(`operator: ${cluster.name}: ${outcome}`)
      }
      await sleep(200)
    }
  }

  const task = (body: () => Promise<void>): void => {
    tasks++
    body()
      .catch((error) => kernel.fail('operator', (error as Error).stack ?? String(error)))
      .finally(() => {
        tasks--
      })
  }

  /** `ready` is asked at every attempt: what a disk had in doubt when the last one failed may have come to light since. */
  const demote = (cluster: Cluster, ready: () => boolean = () => true): Promise<void> =>
    insist(cluster, async (node) => {
      const { dr } = node.role
      if (dr.mode !== 'primary') return
      if (!ready()) throw new Error('its secondary is not level')
      const role: Role = {
        ...node.role,
        dr: { mode: 'secondary', clusterId: dr.clusterId, id: cluster.name, upstream: '' },
      }
      await cluster.changeRole(async ({ store }) => {
        const { epoch } = store.log.head()
        await store.put(positionKey('dr'), encodePosition({ clusterId: dr.clusterId, epoch, view: '', cursor: null }))
        return { role }
      })
      roles.set(cluster.name, role)
      kernel.trace(`operator: ${cluster.name} demoted`)
    })

  /** Resolves with the place in the former primary's log up to which it holds everything; null when it was in the middle of a sync. */
  const promote = async (cluster: Cluster, former: Cluster): Promise<Cursor | null> => {
    let receipt: Cursor | null = null
    await insist(cluster, async (node) => {
      const { dr } = node.role
      if (dr.mode !== 'secondary') return
      const role: Role = { ...node.role, dr: { mode: 'primary', clusterId: dr.clusterId } }
      await cluster.changeRole(async ({ store }) => {
        receipt = cluster.shadow.position('dr')?.cursor ?? null
        if (receipt === null) return { role: node.role }
        assertHolds(cluster, former, receipt)
        const followed = cluster.shadow.position('dr')?.epoch ?? 0
        await store.log.startEpoch(Math.max(store.log.head().epoch, followed) + 1)
        return {
          role,
          writes: [
            { type: 'delete', key: positionKey('dr') },
            { type: 'put', key: DR_MEMBERS + former.name, value: json({}) },
          ],
        }
      })
      if (receipt === null) return
      roles.set(cluster.name, role)
    })
    if (receipt !== null) kernel.trace(`operator: ${cluster.name} promoted, epoch ${cluster.shadow.epoch}`)
    return receipt
  }

  const followDr = (cluster: Cluster, upstream: Cluster): Promise<void> =>
    insist(cluster, async (node) => {
      const { dr } = node.role
      if (dr.mode !== 'secondary' || dr.upstream === upstream.name) return
      const role: Role = { ...node.role, dr: { ...dr, upstream: upstream.name } }
      await cluster.changeRole(async () => ({ role }))
      roles.set(cluster.name, role)
    })

  const point = (secondary: Cluster, upstream: Cluster): void =>
    task(() =>
      insist(secondary, async (node) => {
        const { performance } = node.role
        if (performance.mode !== 'secondary' || performance.upstream === upstream.name) return
        const role: Role = { ...node.role, performance: { ...performance, upstream: upstream.name } }
        kernel.trace(`operator: ${secondary.name} follows ${upstream.name}`)
        await secondary.changeRole(async () => ({ role }))
        roles.set(secondary.name, role)
      }),
    )

  const pointAll = (): void => {
    for (const cluster of clusters.values()) {
      if (roles.get(cluster.name)?.performance.mode !== 'secondary') continue
      kernel.at(random.below(1500), () => point(cluster, leader))
    }
  }

  /** The promoted cluster must hold all that was acknowledged up to the receipt's place. */
  const assertHolds = (next: Cluster, former: Cluster, cursor: Cursor): void => {
    checks.wholeState(next)
    if (checks.sourceOf(cursor) !== former) {
      kernel.fail('receipt', `${next.name} is at no place in the log of ${former.name}`)
    }
  }

  return {
    get leader() {
      return leader
    },
    get draining() {
      return draining
    },
    get busy() {
      return tasks > 0
    },
    point,

    planned(next) {
      const former = leader
      draining = true
      task(async () => {
        kernel.trace(`operator: planned switch from ${former.name} to ${next.name}`)
        const deadline = kernel.now() + 4000
        const level = (): boolean => {
          const cursor = next.shadow.position('dr')?.cursor
          if (former.node === undefined || next.node === undefined || clients.pending(former) > 0) return false
          if (!cursor || checks.sourceOf(cursor) !== former || cursor.index !== former.shadow.index) return false
          const status = next.node.follower?.status()
          return status?.state === 'stream-wals' && status.position.cursor?.index === former.shadow.index
        }
        // Level twice, so that nothing was on its way.
        for (let seen = 0; seen < 2; ) {
          if (kernel.now() > deadline) {
            kernel.trace('operator: gave up the planned switch')
            draining = false
            return
          }
          await sleep(100)
          seen = level() ? seen + 1 : 0
        }
        await demote(former, level)
        for (const key of former.shadow.keys) {
          if (!mayTravel('dr', key) || former.shadow.values.get(key) === next.shadow.values.get(key)) continue
          kernel.fail('planned switch', `${next.name} lacks the state of ${key} that ${former.name} has`)
        }
        await promote(next, former)
        leader = next
        draining = false
        pointAll()
        await followDr(former, next)
      })
    },

    unplanned(next, { comesBack }) {
      const former = leader
      task(async () => {
        if (!next.shadow.position('dr')?.cursor) return comesBack()
        const receipt = await promote(next, former)
        if (receipt === null) {
          kernel.trace('operator: in the middle of a sync, not promoted')
          return comesBack()
        }
        kernel.trace(`operator: receipt ${receipt.epoch}/${receipt.index} of ${former.name}`)
        leader = next
        pointAll()
        await sleep(random.between(500, 3000))
        comesBack()
        await sleep(random.between(500, 3000))
        await insist(former, async (node) => assertReceipt(node, former, receipt))
        await demote(former)
        await followDr(former, next)
      })
    },
  }

  /** Exactly the records after the receipt's place are what the new primary lacks. */
  async function assertReceipt({ store }: Node, former: Cluster, receipt: Cursor): Promise<void> {
    const after = await recordsAfter(store.log, receipt)
    if (after === 'trimmed') return kernel.trace('operator: the log no longer reaches back to the receipt')
    if (after === 'unknown')
      return kernel.fail('receipt', `${former.name} does not know ${receipt.epoch}/${receipt.index}`)
    const missing = new Map<string, Set<string | undefined>>()
    for await (const { operations } of after.records()) {
      for (const { key, value } of operations) {
        const values = missing.get(key) ?? new Set()
        missing.set(key, values.add(value && Buffer.from(value).toString('latin1')))
      }
    }
    for (const write of clients.acknowledged) {
      if (write.cluster !== former || write.epoch !== receipt.epoch) continue
      for (const [key, value] of write.values) {
        const version = former.shadow.versions(key).find((each) => each.value === value)
        if (value === undefined || version === undefined || version.index <= receipt.index) continue
        // Not demoted yet, it may take more while it is asked.
        if (version.index > after.head.index) continue
        if (!missing.get(key)?.has(value)) {
          kernel.fail(
            'receipt',
            `${key}=${value.slice(0, 12)} at ${version.index} is lost and not listed after ${receipt.index}`,
          )
        }
      }
    }
    for (const [key, values] of missing) {
      for (const value of values) {
        const listed = former.shadow.versions(key).some((each) => each.value === value && each.index > receipt.index)
        if (!listed) kernel.fail('receipt', `${key} is listed as lost, but was not written after ${receipt.index}`)
      }
    }
  }
}
