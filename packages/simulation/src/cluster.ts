/** One cluster: a disk that stays, and on it a program that runs the real replication code until it crashes and is started again. */
import type { Link, LinkKind } from '@lockstep/replication'
import {
  acceptTagged,
  type FilteredView,
  type FollowHandle,
  filteredView,
  followPrimary,
  type LoggedStore,
  loggedStore,
  type SecondaryHandle,
  serveSecondary,
} from '@lockstep/replication-driver'
import type { WriteOperation } from '@lockstep/storage'
import { type ClassRules, classRules, vaultRules } from '@lockstep/storage-classes'
import { type Disk, simulatedDisk } from './disk.ts'
import type { Kernel, Process } from './kernel.ts'
import {
  CLUSTER_ROLE,
  DR_MEMBERS,
  type Filter,
  LOCAL_MOUNT_RECORDS,
  LOCAL_STORAGE,
  MEMBERS,
  MOUNT_RECORDS,
  type Mount,
  ROLE,
} from './keys.ts'
import type { Network } from './network.ts'
import { type Batch, type Shadow, shadow } from './shadow.ts'

export interface Following {
  mode: 'secondary'
  clusterId: string
  id: string
  /** Name of the cluster it follows; "" for none. */
  upstream: string
}

/** What the cluster is, apart from being a performance primary: that travels with its data. */
export interface Role {
  dr: Following | { mode: 'primary'; clusterId: string } | { mode: 'disabled' }
  performance: Following | { mode: 'disabled' }
}

export interface Member {
  kind: LinkKind
  id: string
  view: FilteredView
  handle: SecondaryHandle | undefined
  link: Link | undefined
}

/** One life of the program. */
export interface Node {
  readonly process: Process
  readonly store: LoggedStore
  readonly classes: ClassRules
  readonly modes: { performance: 'primary' | 'secondary' | 'disabled'; dr: 'primary' | 'secondary' | 'disabled' }
  readonly members: Map<string, Member>
  role: Role
  /** Takes writes of clients: not while its role changes. */
  serving: boolean
  /** What its role runs has started: only then can the role be changed. */
  started: boolean
  follower: FollowHandle | undefined
  followedKind: LinkKind | undefined
}

export interface Cluster {
  readonly name: string
  readonly disk: Disk
  readonly shadow: Shadow
  /** Undefined while it is down or starting. */
  readonly node: Node | undefined
  /** Where each mount stands or stood last, as this cluster's program was told. */
  readonly mounts: ReadonlyMap<string, Mount>
  readonly liveMounts: ReadonlySet<string>
  /** Gone upstream, and here as soon as their local data is. */
  readonly leaving: ReadonlySet<string>
  /** Of its performance secondaries. */
  readonly filters: ReadonlyMap<string, Filter | undefined>
  /** Rejects when the program cannot start on what the disk holds. */
  start(): Promise<void>
  crash(why: string): void
  /** A new disk, prepared by an operator. */
  replaceDisk(): void
  /** Writes the role a cluster begins with. */
  prepare(role: Role, also?: readonly WriteOperation[]): Promise<void>
  accept(kind: LinkKind, id: string, link: Link): string | undefined
  /** Resolves when durable. Rejects for what was not, or may not have been, stored. Never settles when the program dies. */
  write(operations: readonly WriteOperation[]): Promise<void>
  saveMount(mount: Mount): Promise<void>
  deleteMount(uuid: string): Promise<void>
  setFilter(id: string, filter: Filter | undefined): Promise<void>
  /** Stops what the role runs, stores the next one, and starts that. */
  changeRole(change: (node: Node) => Promise<{ role: Role; writes?: readonly WriteOperation[] }>): Promise<void>
}

export interface ClusterSettings {
  logBytes: number
  tailBytes: number
  cacheBytes: number
  trimDelayMs: number
  batchBytes: number
  windowBytes: number
  answerBytes: number
  tickMs: number
}

export interface ClusterComponents {
  kernel: Kernel
  network: Network
  settings: ClusterSettings
  find(name: string): Cluster
  /** A batch has become durable. */
  onDurable(cluster: Cluster, batch: Batch): void
  /** What secondaries of it may hold has changed: all of them, or the one with this id. */
  onViewChanged(cluster: Cluster, mount: string | undefined, id: string | undefined): void
  onDown(cluster: Cluster): void
}

const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString()
export const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

export function simulatedCluster(components: ClusterComponents, name: string): Cluster {
  const { kernel, network, settings } = components
  const known = shadow()
  const mounts = new Map<string, Mount>()
  const liveMounts = new Set<string>()
  const leaving = new Set<string>()
  const filters = new Map<string, Filter | undefined>()
  let starting: Process | undefined
  let node: Node | undefined

  const disk = simulatedDisk({
    kernel,
    name,
    onDurable: (operations) => components.onDurable(self, known.follow(operations)),
    crash: () => self.crash('at an I/O step'),
  })

  const current = (): Node => {
    if (node === undefined) throw new Error(`${name} is down`)
    return node
  }

  // ------------------------------------------------------------------ mounts

  const register = ({ classes }: Pick<Node, 'classes'>, mount: Mount): void => {
    const { uuid, path, local } = mount
    const localStorage = local ? [] : [LOCAL_STORAGE]
    classes.registerMount({ uuid, keyPrefix: `logical/${uuid}/`, mountPath: path, local, localStorage })
    const before = mounts.get(uuid)
    mounts.set(uuid, mount)
    liveMounts.add(uuid)
    if (before !== undefined && before.path !== path) viewsChanged(uuid)
  }

  const unregister = ({ classes }: Pick<Node, 'classes'>, uuid: string): void => {
    classes.unregisterMount(uuid)
    if (liveMounts.delete(uuid)) viewsChanged(uuid)
  }

  const viewsChanged = (uuid: string): void => {
    components.onViewChanged(self, uuid, undefined)
    for (const member of node?.members.values() ?? []) member.handle?.viewChanged()
  }

  const recordKey = ({ uuid, local }: Pick<Mount, 'uuid' | 'local'>): string =>
    (local ? LOCAL_MOUNT_RECORDS : MOUNT_RECORDS) + uuid

  const loadMounts = async (at: Node): Promise<void> => {
    liveMounts.clear()
    leaving.clear()
    for (const prefix of [MOUNT_RECORDS, LOCAL_MOUNT_RECORDS]) {
      for await (const [, value] of at.store.scan({ prefix })) register(at, JSON.parse(text(value)))
    }
  }

  /** A mount record came, changed or went by replication. */
  const followRecord = async (at: Node, key: string): Promise<void> => {
    const uuid = key.slice(key.lastIndexOf('/') + 1)
    const value = await at.store.get(key)
    if (node !== at) return
    if (value !== undefined) return register(at, JSON.parse(text(value)))
    if (!liveMounts.has(uuid)) return
    // Local writes on their way to it may still come.
    leaving.add(uuid)
    for (let seen = 1; seen > 0; ) {
      await new Promise<void>((resolve) => void at.process.after(500, resolve))
      seen = await dropLocalData(at, uuid)
    }
    if ((await at.store.get(key)) === undefined && node === at) unregister(at, uuid)
    leaving.delete(uuid)
  }

  /** What this cluster alone kept in a mount that is gone. */
  const dropLocalData = async (at: Node, uuid: string): Promise<number> => {
    let dropped = 0
    if (at.modes.dr === 'secondary') return dropped
    for await (const [key] of at.store.scan({ prefix: `logical/${uuid}/${LOCAL_STORAGE}` })) {
      await at.store.delete(key)
      dropped++
    }
    return dropped
  }

  /** The same, when the program died before it could. */
  const dropOrphans = async (at: Node): Promise<void> => {
    for (const uuid of await at.store.list('logical/')) {
      const id = uuid.slice(0, -1)
      if (liveMounts.has(id)) continue
      at.classes.registerMount({
        uuid: id,
        keyPrefix: `logical/${id}/`,
        mountPath: mounts.get(id)?.path ?? 'gone/',
        local: false,
        localStorage: [LOCAL_STORAGE],
      })
      await dropLocalData(at, id)
      if (!liveMounts.has(id)) at.classes.unregisterMount(id)
    }
  }

  // ------------------------------------------------------------------- roles

  const addMember = (at: Node, kind: LinkKind, id: string, filter: Filter | undefined): void => {
    const view = filteredView({ kind, mountPathOf: (mount) => at.classes.mountPath(mount), filter })
    at.members.set(`${kind}/${id}`, { kind, id, view, handle: undefined, link: undefined })
    if (kind === 'performance') {
      // Stored, and the program died before it could say so.
      const changed = filters.has(id) && JSON.stringify(filters.get(id)) !== JSON.stringify(filter)
      filters.set(id, filter)
      if (changed) components.onViewChanged(self, undefined, id)
    }
    at.store.log.retain(`${kind}/${id}`, at.store.log.oldest() - 1)
  }

  const loadRole = async (at: Node): Promise<void> => {
    const stored = await at.store.get(ROLE)
    if (stored !== undefined) at.role = JSON.parse(text(stored))
    const { dr, performance } = at.role
    const leads = (await at.store.get(CLUSTER_ROLE)) !== undefined
    const isPrimary = leads && dr.mode !== 'secondary' && performance.mode !== 'secondary'
    at.modes.dr = dr.mode
    at.modes.performance = isPrimary ? 'primary' : performance.mode
  }

  const startRoles = async (at: Node): Promise<void> => {
    await loadRole(at)
    const { dr, performance } = at.role
    if (at.modes.performance === 'primary') {
      for await (const [key, value] of at.store.scan({ prefix: MEMBERS })) {
        addMember(at, 'performance', key.slice(MEMBERS.length), JSON.parse(text(value)).filter)
      }
    }
    if (dr.mode === 'primary') {
      for await (const [key] of at.store.scan({ prefix: DR_MEMBERS })) {
        addMember(at, 'dr', key.slice(DR_MEMBERS.length), undefined)
      }
    }
    if (dr.mode === 'secondary') follow(at, 'dr', dr)
    else if (performance.mode === 'secondary') follow(at, 'performance', performance)
  }

  const follow = (at: Node, kind: LinkKind, { id, upstream }: Following): void => {
    at.followedKind = kind
    if (upstream === '') return
    const { process } = at
    const target = components.find(upstream)
    at.follower = followPrimary(
      {
        store: at.store,
        runtime: process.runtime,
        log: {
          info: () => {},
          warn: (_, fields) => kernel.trace(`${name}>${upstream} link ended: ${fields?.reason}`),
        },
        accept: acceptTagged(at.classes, kind),
        dial: (signal) =>
          network.dial({
            kind,
            from: name,
            process,
            to: upstream,
            signal,
            listener: () => target.node?.process,
            accept: (link) => target.accept(kind, id, link),
          }),
      },
      {
        kind,
        secondaryId: id,
        positionKey: `core/replication/cursor/${kind}`,
        tickMs: settings.tickMs,
        pingIntervalMs: 2000,
        silenceMs: 6000,
        backoff: { minMs: 100, maxMs: 2000 },
      },
    )
  }

  const stopRoles = async (at: Node): Promise<void> => {
    for (const [consumer, member] of at.members) {
      member.handle?.close()
      at.store.log.release(consumer)
    }
    at.members.clear()
    const { follower } = at
    at.follower = undefined
    at.followedKind = undefined
    await follower?.close()
  }

  const commit = async ({ store }: Node, operations: readonly WriteOperation[]): Promise<void> => {
    const transaction = await store.begin()
    try {
      for (const operation of operations) {
        if (operation.type === 'put') await transaction.put(operation.key, operation.value)
        else await transaction.delete(operation.key)
      }
      await transaction.commit()
    } finally {
      await transaction.abort()
    }
  }

  const open = async (process: Process): Promise<Node> => {
    const classes = classRules(vaultRules)
    const modes: Node['modes'] = { performance: 'disabled', dr: 'disabled' }
    const engine = await disk.open(process)
    const store = await loggedStore(engine, {
      classify: (key) => classes.classify(key),
      writable: ({ class: storageClass }) => {
        if (storageClass === 'ignored') return true
        if (modes.dr === 'secondary') return false
        return storageClass === 'local' || modes.performance !== 'secondary'
      },
      keepLog: () => modes.performance === 'primary' || modes.dr === 'primary',
      logBytes: settings.logBytes,
      tailBytes: settings.tailBytes,
      cacheBytes: settings.cacheBytes,
      trimDelayMs: settings.trimDelayMs,
      runtime: process.runtime,
    })
    const role: Role = { dr: { mode: 'disabled' }, performance: { mode: 'disabled' } }
    return {
      process,
      store,
      classes,
      modes,
      members: new Map(),
      role,
      serving: true,
      started: false,
      follower: undefined,
      followedKind: undefined,
    }
  }

  const self: Cluster = {
    name,
    disk,
    shadow: known,
    mounts,
    liveMounts,
    leaving,
    filters,
    get node() {
      return node
    },

    async start() {
      // Two programs never share a disk.
      if (node !== undefined || starting?.alive) return
      const process = kernel.process(name)
      starting = process
      const before = known.index
      const at = await open(process)
      const head = at.store.log.head()
      if (head.index < before) kernel.fail('monotonic index', `${name} reopened at ${head.index}, was at ${before}`)
      if (head.index !== known.index || head.epoch !== known.epoch) {
        kernel.fail(
          'durable head',
          `${name} opened at ${head.epoch}/${head.index}, its disk says ${known.epoch}/${known.index}`,
        )
      }
      await loadMounts(at)
      // Before anyone can write.
      await loadRole(at)
      starting = undefined
      node = at
      at.store.onChanged((keys, source) => {
        if (source !== 'upstream') return
        for (const key of keys) {
          if (!key.startsWith(MOUNT_RECORDS) && !key.startsWith(LOCAL_MOUNT_RECORDS)) continue
          followRecord(at, key).catch((error) => kernel.trace(`${name} mount record: ${error.message}`))
        }
      })
      await startRoles(at)
      at.started = true
      kernel.trace(`${name} up at ${head.epoch}/${head.index} ${at.modes.performance} ${at.modes.dr}`)
      await dropOrphans(at)
    },

    crash(why) {
      const process = node?.process ?? starting
      if (process === undefined) return
      kernel.trace(`${name} crash ${why}`)
      node = undefined
      starting = undefined
      process.kill()
      components.onDown(self)
    },

    replaceDisk() {
      self.crash('disk replaced')
      disk.wipe()
      known.reset()
      mounts.clear()
      liveMounts.clear()
    },

    async prepare(role, also = []) {
      const process = kernel.process(`${name} (setup)`)
      starting = process
      const prepared = open(process).then(async (at) => {
        await commit(at, [{ type: 'put', key: ROLE, value: json(role) }, ...also])
        await at.store.close()
      })
      await new Promise<void>((resolve, reject) => {
        process.onKill(() => reject(new Error(`${process.name} died`)))
        prepared.then(resolve, reject)
      }).finally(() => {
        if (starting === process) starting = undefined
        process.kill()
      })
    },

    accept(kind, id, link) {
      const at = node
      const member = at?.members.get(`${kind}/${id}`)
      if (at === undefined || member === undefined) return 'the secondary is unknown'
      member.link?.close('replaced by a newer connection')
      const clusterId =
        kind === 'performance' ? 'performance-set' : at.role.dr.mode === 'primary' ? at.role.dr.clusterId : ''
      const { batchBytes, windowBytes, answerBytes, tickMs } = settings
      member.link = link
      member.handle = serveSecondary(
        { store: at.store, link, view: member.view, runtime: at.process.runtime },
        {
          kind,
          clusterId,
          leader: name,
          secondaryId: id,
          consumer: `${kind}/${id}`,
          batchBytes,
          windowBytes,
          answerBytes,
          tickMs,
          guardIntervalMs: 5000,
          pingIntervalMs: 2000,
          silenceMs: 6000,
        },
      )
      void link.closed.then(() => {
        if (member.link !== link) return
        member.link = undefined
        member.handle = undefined
      })
      return undefined
    },

    async write(operations) {
      const at = current()
      const [only] = operations
      if (operations.length > 1 || only === undefined) return commit(at, operations)
      return only.type === 'put' ? at.store.put(only.key, only.value) : at.store.delete(only.key)
    },

    async saveMount(mount) {
      const at = current()
      const before = mounts.get(mount.uuid)
      // A move is told after it is stored; data of a new mount has no class before it is registered.
      if (before === undefined) register(at, mount)
      try {
        await at.store.put(recordKey(mount), json(mount))
        register(at, mount)
      } catch (error) {
        const stored = await at.store.get(recordKey(mount))
        if (stored === undefined) unregister(at, mount.uuid)
        else register(at, JSON.parse(text(stored)))
        throw error
      }
    },

    async deleteMount(uuid) {
      const at = current()
      const mount = mounts.get(uuid)!
      for (;;) {
        const keys: string[] = []
        for await (const [key] of at.store.scan({ prefix: `logical/${uuid}/`, limit: 8 })) keys.push(key)
        if (keys.length === 0) break
        await commit(
          at,
          keys.map((key) => ({ type: 'delete', key })),
        )
      }
      try {
        await at.store.delete(recordKey(mount))
      } finally {
        if ((await at.store.get(recordKey(mount))) === undefined) unregister(at, uuid)
      }
    },

    async setFilter(id, filter) {
      const at = current()
      await at.store.put(MEMBERS + id, json({ filter }))
      const member = at.members.get(`performance/${id}`)
      if (member === undefined) return
      filters.set(id, filter)
      components.onViewChanged(self, undefined, id)
      member.view.setFilter(filter)
      member.handle?.viewChanged()
    },

    async changeRole(change) {
      const at = current()
      // As in `core`: one at a time.
      if (!at.serving || !at.started) throw new Error('another change of the role is under way')
      at.serving = false
      await stopRoles(at)
      try {
        const { modes } = at
        modes.dr = 'disabled'
        const { role, writes = [] } = await change(at)
        await commit(at, [...writes, { type: 'put', key: ROLE, value: json(role) }])
      } finally {
        await startRoles(at)
        at.serving = true
      }
    },
  }
  return self
}
