/** Clients work, mounts and filters change, clusters change their roles, and everything breaks that can. Which of it, the seed decides. */
import type { Cluster } from './cluster.ts'
import type { Mount } from './keys.ts'
import { supervise } from './quiet-time.ts'
import { PATHS, randomFilter, type World } from './world.ts'

interface Plan {
  ms: number
  writeEvery: number
  faultEvery: number
  crashes: boolean
  cuts: boolean
  blocks: boolean
  diskErrors: boolean
  bitFlips: boolean
  slow: boolean
  mounts: boolean
  filters: boolean
  failovers: boolean
  raw: boolean
}

export async function faultyTime(world: World): Promise<void> {
  const { kernel, network, clusters, operator, clients, checks, held } = world
  const { random } = kernel
  const plan: Plan = {
    ms: random.between(3000, 9000),
    writeEvery: random.pick([40, 80, 200]),
    faultEvery: random.pick([300, 800, 2000]),
    crashes: random.chance(0.6),
    cuts: random.chance(0.6),
    blocks: random.chance(0.5),
    diskErrors: random.chance(0.3),
    bitFlips: random.chance(0.15),
    slow: random.chance(0.3),
    mounts: random.chance(0.5),
    filters: random.chance(0.4),
    failovers: random.chance(0.5),
    raw: RAW_LINKS && random.chance(0.15),
  }
  if (plan.bitFlips) plan.failovers = false
  const end = kernel.now() + plan.ms
  const all = [...clusters.values()]
  const leading = (): Cluster => operator.leader
  network.faults.delayMs = random.pick([2, 20, 100])
  for (const { disk } of all) {
    disk.faults.writeMs = random.pick([0.5, 3, 15])
    disk.faults.readMs = random.pick([0, 0, 2])
    if (plan.diskErrors) {
      disk.faults.noSpace = random.pick([0, 0.01])
      disk.faults.inDoubt = random.pick([0, 0.02])
      disk.faults.syncFails = random.pick([0, 0.01])
    }
  }
  if (plan.raw) Object.assign(network.faults, { drop: 0.01, duplicate: 0.01, reorder: 0.01 })

  const during = (every: number, action: () => void): void => {
    const again = (): void => {
      kernel.at(every * (0.3 + 1.4 * random.float()), () => {
        if (kernel.now() >= end) return
        again()
        action()
      })
    }
    again()
  }

  // ----------------------------------------------------------------- clients

  during(plan.writeEvery, () => {
    const stray = random.chance(0.15)
    const cluster = stray ? random.pick(all) : leading()
    if (operator.draining && cluster === leading()) return
    // A zombie takes writes too: it does not know.
    clients.write(cluster)
  })
  during(plan.writeEvery * 3, () => clients.read(random.pick(all)))
  during(400, () => {
    for (const cluster of all) supervise(world, cluster)
  })
  during(700, () => {
    checks.wholeState(random.pick(all))
    const primary = random.pick(all)
    const trimmed = primary.node?.store.log.trim() ?? Promise.resolve()
    trimmed.then(
      () => checks.retention(primary, world.settings.logBytes),
      (error) => kernel.trace(`${primary.name} trim: ${(error as Error).message}`),
    )
  })

  // ------------------------------------------------------- mounts and filters

  let lastMount = 2
  let administering = false
  const administer = (body: () => Promise<void>): void => {
    if (administering || operator.draining) return
    const { node } = leading()
    if (node === undefined) return
    administering = true
    node.process.onKill(() => {
      administering = false
    })
    body()
      .catch((error) => kernel.trace(`admin: ${(error as Error).message}`))
      .finally(() => {
        administering = false
      })
  }
  const changeMount = async (cluster: Cluster): Promise<void> => {
    const live = [...cluster.liveMounts].filter((uuid) => uuid.startsWith('m'))
    const free = PATHS.filter((path) => !live.some((uuid) => cluster.mounts.get(uuid)?.path === path))
    const choice = random.float()
    if (choice < 0.4 && free.length > 0) {
      const local = random.chance(0.2)
      const mount: Mount = { uuid: `${local ? 'l' : 'm'}${++lastMount}`, path: random.pick(free), local }
      kernel.trace(`admin: mount ${mount.uuid} at ${mount.path} on ${cluster.name}`)
      await cluster.saveMount(mount)
    } else if (choice < 0.8 && free.length > 0 && live.length > 0) {
      const mount = cluster.mounts.get(random.pick(live))!
      const path = random.pick(free)
      kernel.trace(`admin: ${mount.uuid} from ${mount.path} to ${path}`)
      await cluster.saveMount({ ...mount, path })
    } else if (live.length > 1) {
      const uuid = random.pick(live)
      kernel.trace(`admin: unmount ${uuid}`)
      await clients.quiet(cluster, uuid, () => cluster.deleteMount(uuid))
    }
  }
  if (plan.mounts) during(1500, () => administer(() => changeMount(leading())))
  if (plan.filters) {
    during(2000, () => {
      const ids = [...leading().filters.keys()]
      if (ids.length === 0) return
      const id = random.pick(ids)
      const filter = randomFilter(random)
      kernel.trace(`admin: filter of ${id}: ${JSON.stringify(filter)}`)
      administer(() => leading().setFilter(id, filter))
    })
  }

  // ------------------------------------------------------------------ faults

  const faults: (() => void)[] = []
  if (plan.crashes) {
    faults.push(
      () => random.pick(all).crash('by fault'),
      () => random.pick(all).disk.crashIn(random.between(1, 40)),
    )
  }
  if (plan.cuts) {
    faults.push(() => {
      const links = network.links()
      if (links.length === 0) return
      const link = random.pick(links)
      const first = random.chance(0.6)
      kernel.trace(`cut ${link.names.join('-')}`)
      link.cut(first, !first || random.chance(0.5))
    })
  }
  if (plan.blocks) {
    faults.push(() => {
      const [from, to] = [random.pick(all).name, random.pick(all).name]
      const both = random.chance(0.6)
      kernel.trace(`block ${from}>${to}${both ? ' both ways' : ''}`)
      network.block(from, to, true)
      if (both) network.block(to, from, true)
      kernel.at(random.pick([200, 1500, 8000]), () => {
        network.block(from, to, false)
        network.block(to, from, false)
      })
    })
  }
  if (plan.slow) {
    faults.push(() => {
      const { disk } = random.pick(all)
      const before = disk.faults.writeMs
      disk.faults.writeMs = random.pick([80, 300])
      kernel.at(random.between(500, 3000), () => {
        disk.faults.writeMs = Math.min(before, 15)
      })
    })
  }
  if (plan.bitFlips) {
    faults.push(() => {
      const cluster = random.pick(all)
      if (cluster === leading() || !cluster.disk.flipBit()) return
      kernel.trace(`bit flip on ${cluster.name}`)
    })
  }
  if (faults.length > 0) during(plan.faultEvery, () => random.pick(faults)())

  // -------------------------------------------------------------- role changes

  if (plan.failovers && clusters.has('B')) {
    during(3500, () => {
      if (operator.busy || administering) return
      const former = leading()
      const next = clusters.get(former.name === 'A' ? 'B' : 'A')!
      if (random.chance(0.5)) return operator.planned(next)
      const how = random.pick(['down', 'alone', 'zombie'] as const)
      kernel.trace(`unplanned switch from ${former.name} (${how})`)
      const others = all.filter((cluster) => cluster !== former).map(({ name }) => name)
      const cutOff = how === 'alone' ? others : [next.name]
      if (how === 'down') {
        held.add(former.name)
        former.crash('and stays down')
      }
      for (const name of how === 'down' ? [] : cutOff) {
        network.block(name, former.name, true)
        network.block(former.name, name, true)
      }
      operator.unplanned(next, {
        comesBack() {
          held.delete(former.name)
          for (const name of cutOff) {
            network.block(name, former.name, false)
            network.block(former.name, name, false)
          }
        },
      })
    })
    // Someone follows an old note.
    during(2500, () => {
      const secondaries = all.filter(({ node }) => node?.role.performance.mode === 'secondary')
      if (secondaries.length === 0) return
      const secondary = random.pick(secondaries)
      operator.point(secondary, clusters.get(random.pick(['A', 'B']))!)
      kernel.at(random.between(300, 2000), () => operator.point(secondary, leading()))
    })
  }

  await kernel.run(() => kernel.now() >= end)
}

/** Drop, duplicate and reorder what TLS would not let through. Needs a protocol that finds it out. */
const RAW_LINKS = true
