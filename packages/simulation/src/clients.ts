/** Clients: they write values that never repeat, know what was acknowledged and at which index, and read it elsewhere. */
import type { WriteOperation } from '@lockstep/storage'
import type { Checks } from './checks.ts'
import type { Cluster, Node } from './cluster.ts'
import type { Kernel } from './kernel.ts'
import { classOf, LOCAL_STORAGE } from './keys.ts'

export interface Write {
  cluster: Cluster
  values: Map<string, string | undefined>
  /** Of the log when the write was acknowledged. */
  index: number
  epoch: number
}

export interface Clients {
  readonly acknowledged: readonly Write[]
  /** Writes under way on the cluster. */
  pending(cluster: Cluster): number
  /** Runs the body while no client writes to the mount. */
  quiet(cluster: Cluster, mount: string, body: () => Promise<void>): Promise<void>
  /** One transaction; `local` on a performance secondary. */
  write(cluster: Cluster): void
  /** Waits on a secondary for an acknowledged write, then reads it. */
  read(secondary: Cluster): void
}

const KEYS = 5
const VALUE_BYTES = [8, 60, 60, 300] as const

export function clients(kernel: Kernel, checks: Checks): Clients {
  const { random } = kernel
  const acknowledged: Write[] = []
  const pending = new Map<Cluster, { node: Node; count: number }>()
  let last = 0
  /** Mounts that are about to go. */
  const busy = new Set<string>()

  const chooseKey = (cluster: Cluster, node: Node): string => {
    const localOnly = node.modes.performance === 'secondary'
    const kind = random.below(10)
    if (kind === 0) return localOnly ? `sys/expire/e${random.below(KEYS)}` : `sys/policy/p${random.below(KEYS)}`
    if (kind === 1) return `sys/expire/e${random.below(KEYS)}`
    const mounts = [...cluster.liveMounts].filter(
      (uuid) => !busy.has(`${cluster.name}/${uuid}`) && !cluster.leaving.has(uuid),
    )
    if (mounts.length === 0) return `sys/expire/e${random.below(KEYS)}`
    const mount = random.pick(mounts)
    const localPart = !mount.startsWith('l') && (localOnly || random.chance(0.2))
    // Few keys, most writes on the first ones.
    const key = `k${Math.min(random.below(KEYS * 2), random.below(KEYS * 2))}`
    return `logical/${mount}/${localPart ? LOCAL_STORAGE : ''}${key}`
  }

  const settle = async (cluster: Cluster, operations: WriteOperation[], values: Write['values']): Promise<void> => {
    const node = cluster.node!
    try {
      await cluster.write(operations)
    } catch (error) {
      const { code } = error as { code?: string }
      if (
        code === undefined ||
        !/^(EIO|ENOSPC|STORAGE_CONFLICT|REPLICATION_READ_ONLY|STORAGE_CLASS_UNKNOWN_KEY)$/.test(code)
      ) {
        kernel.fail('client', `${cluster.name}: ${(error as Error).stack}`)
      }
      return
    } finally {
      const entry = pending.get(cluster)
      if (entry?.node === node) entry.count--
    }
    const { index, epoch } = node.store.log.head()
    for (const [key, value] of values) {
      // A deletion may have found nothing to delete.
      if (value === undefined) continue
      if (cluster.shadow.versions(key).some((version) => version.value === value && version.index <= index)) continue
      kernel.fail('durable before answered', `${cluster.name} acknowledged ${key}=${value?.slice(0, 12)} at ${index}`)
    }
    acknowledged.push({ cluster, values, index, epoch })
  }

  const pendingOn = (cluster: Cluster): number => {
    const entry = pending.get(cluster)
    return entry !== undefined && entry.node === cluster.node ? entry.count : 0
  }

  return {
    acknowledged,
    async quiet(cluster, mount, body) {
      const name = `${cluster.name}/${mount}`
      const { node } = cluster
      busy.add(name)
      node?.process.onKill(() => busy.delete(name))
      try {
        while (pendingOn(cluster) > 0) await new Promise<void>((resolve) => void kernel.at(20, resolve))
        if (cluster.node === node) await body()
      } finally {
        busy.delete(name)
      }
    },
    pending: pendingOn,

    write(cluster) {
      const { node } = cluster
      if (!node?.serving || node.modes.dr === 'secondary') return
      const count = random.chance(0.7) ? 1 : random.between(2, 4)
      const values: Write['values'] = new Map()
      const operations: WriteOperation[] = []
      for (let i = 0; i < count; i++) {
        const key = chooseKey(cluster, node)
        if (values.has(key)) continue
        const value = random.chance(0.2) ? undefined : `v${++last}:`.padEnd(random.pick(VALUE_BYTES), '.')
        values.set(key, value)
        operations.push(value === undefined ? { type: 'delete', key } : { type: 'put', key, value: Buffer.from(value) })
      }
      const entry = pending.get(cluster)
      if (entry?.node === node) entry.count++
      else pending.set(cluster, { node, count: 1 })
      void settle(cluster, operations, values)
    },

    read(secondary) {
      const { node } = secondary
      const write = acknowledged.at(-1 - random.below(Math.min(8, acknowledged.length)))
      const kind = node?.followedKind
      if (node?.follower === undefined || kind === undefined || write === undefined) return
      const { cluster: primary, index, epoch } = write
      if (primary === secondary || primary.shadow.epoch !== epoch) return
      const key = [...write.values.keys()].find((each) => classOf(each) === 'replicated')
      if (key === undefined) return
      void node.follower.applied(index, 3000).then(async (applied) => {
        if (!applied || secondary.node !== node) return
        const cursor = secondary.shadow.position(kind)?.cursor
        if (!cursor || checks.sourceOf(cursor) !== primary) return
        try {
          const found = await node.store.get(key)
          const text = found && Buffer.from(found).toString('latin1')
          checks.readYourWrite({ secondary, kind, primary, key, index, found: text })
        } catch (error) {
          if ((error as { code?: string }).code !== 'EIO') throw error
        }
      })
    },
  }
}
