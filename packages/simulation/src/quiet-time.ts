/** Faults end, everything is up and can talk: all must become equal, in bounded time and with few diffs, and be what it should be. */
import { CLASSES_OF_KIND, parsePartitionId } from '@lockstep/replication'
import type { Cluster } from './cluster.ts'
import { filterAllows } from './keys.ts'
import type { World } from './world.ts'

/** Virtual time after which clusters that are not equal never will be. */
const PATIENCE_MS = 180_000
/** A secondary may need one for a new link, one for a view, one for what a move left behind; and as many again when one is overtaken. */
const MOST_DIFFS = 8

export async function quietTime(world: World): Promise<void> {
  const { kernel, network, clusters, operator, clients, checks, held } = world
  const all = [...clusters.values()]
  kernel.trace('quiet')
  network.healAll()
  Object.assign(network.faults, { delayMs: 5, drop: 0, duplicate: 0, reorder: 0 })
  for (const link of network.links()) if (link.damaged) link.cut(true, true)
  held.clear()
  for (const { disk } of all) {
    Object.assign(disk.faults, { noSpace: 0, inDoubt: 0, syncFails: 0, writeMs: 1, readMs: 0 })
    disk.crashIn(Number.POSITIVE_INFINITY)
  }
  // A full read of the disk, as when it is opened, finds what rots.
  for (const cluster of all) if (cluster.disk.rotten) cluster.crash('to have its disk checked')
  const deadline = kernel.now() + PATIENCE_MS
  const waitFor = async (what: string, done: () => string | undefined): Promise<void> => {
    let reason: string | undefined
    let next = 0
    await kernel.run(() => {
      if (kernel.now() < next) return false
      next = kernel.now() + 200
      for (const cluster of all) supervise(world, cluster)
      reason = done()
      if (reason !== undefined && kernel.now() > deadline) kernel.fail('liveness', `${what}: ${reason}`)
      return reason === undefined
    })
  }

  await waitFor('role changes end', () => {
    if (operator.busy) return 'the operator is at work'
    for (const { name, node } of all) if (node === undefined) return `${name} is down`
    return undefined
  })
  for (const cluster of all) {
    if (cluster.node?.role.performance.mode === 'secondary') operator.point(cluster, operator.leader)
  }
  await waitFor('secondaries follow', () => (operator.busy ? 'the operator is at work' : undefined))

  const before = new Map(all.map(({ name }) => [name, checks.diffsOf(name)]))
  for (const cluster of all) for (let n = 0; n < 3; n++) clients.write(cluster)
  await waitFor('clusters become equal', () => {
    for (const cluster of all) {
      const reason = clients.pending(cluster) > 0 ? 'writes are under way' : whyNotLevel(world, cluster)
      if (reason !== undefined) return `${cluster.name}: ${reason}`
    }
    return undefined
  })

  checks.settle()
  for (const cluster of all) {
    checks.wholeState(cluster)
    const diffs = checks.diffsOf(cluster.name) - (before.get(cluster.name) ?? 0)
    if (diffs > MOST_DIFFS) kernel.fail('sync loop', `${cluster.name} needed ${diffs} diffs in quiet times`)
  }
  await verifyAll(world)
}

/** Why the cluster is not equal to what of its primary it should hold. */
function whyNotLevel(world: World, cluster: Cluster): string | undefined {
  const { node, shadow } = cluster
  if (node === undefined) return 'down'
  const kind = node.followedKind
  if (kind === undefined) return cluster === world.operator.leader ? undefined : 'a second leader'
  const following = kind === 'dr' ? node.role.dr : node.role.performance
  if (following.mode !== 'secondary' || following.upstream === '') return 'follows nobody'
  const primary = world.clusters.get(following.upstream)!
  const status = node.follower?.status()
  const cursor = shadow.position(kind)?.cursor
  if (status?.state !== 'stream-wals') return `${status?.state} ${status?.lastError}`
  if (!cursor || world.checks.sourceOf(cursor) !== primary) return `at no place in the log of ${primary.name}`
  if (cursor.index !== primary.shadow.index) return `at ${cursor.index} of ${primary.shadow.index}`
  if (status.verified?.index !== cursor.index) return `proved at ${status.verified?.index}, at ${cursor.index}`
  return undefined
}

async function verifyAll(world: World): Promise<void> {
  const { kernel, clusters } = world
  let done = 0
  for (const cluster of clusters.values()) {
    verify(world, cluster).then(
      () => {
        done++
      },
      (error) => kernel.fail('verify', `${cluster.name}: ${(error as Error).stack}`),
    )
  }
  await kernel.run(() => done === clusters.size)
}

async function verify(world: World, cluster: Cluster): Promise<void> {
  const { kernel } = world
  const { node, name } = cluster
  const { store } = node!
  const report = await store.verify()
  if (report.total > 0) {
    kernel.fail('forest', `${name}: ${report.total} differences, first ${JSON.stringify(report.differences[0])}`)
  }
  const kind = node!.followedKind
  if (kind === undefined) return
  const following = kind === 'dr' ? node!.role.dr : node!.role.performance
  if (following.mode !== 'secondary') return
  const primary = world.clusters.get(following.upstream)!
  const classes = CLASSES_OF_KIND[kind]
  const shipped = (id: string): boolean => {
    const partition = parsePartitionId(id)!
    if (!classes.includes(partition.class)) return false
    if (kind === 'dr' || partition.mount === 'core') return true
    const path = primary.liveMounts.has(partition.mount) ? primary.mounts.get(partition.mount)?.path : undefined
    return filterAllows(primary.filters.get(name), path)
  }
  const theirs = primary.node!.store.forest.composedRoot(shipped)
  const ours = store.forest.composedRoot((id) => classes.includes(parsePartitionId(id)!.class))
  if (Buffer.compare(theirs, ours) !== 0) kernel.fail('roots', `${name} and ${primary.name} differ`)
}

/** What a service manager and an operator do about a program that can no longer write, or a disk that rots. */
export function supervise(world: World, cluster: Cluster): void {
  const { disk } = cluster
  if (disk.corrupt && cluster !== world.operator.leader) world.replaceDisk(cluster)
  else if (disk.broken) cluster.crash('as its disk refuses writes')
}
