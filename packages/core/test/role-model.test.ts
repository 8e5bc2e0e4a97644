// Random changes of role over three clusters, against a model: which cluster leads, which follows, and what was acknowledged to whom.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { test } from 'vitest'
import { activationToken, generate, type Kind, type Node, startNode, waitFor } from './cluster.ts'

type Mode = 'disabled' | 'primary' | 'secondary'
const KEYS = ['a', 'b', 'c']
const KINDS: readonly Kind[] = ['performance', 'dr']

interface Write {
  key: string
  value: number
  /** What was not may have been made all the same. */
  acknowledged: boolean
}

/** What one leading cluster was told to write; those who follow it hold a part of it from the start on. */
interface Lineage {
  writes: Write[]
}

interface Cluster {
  node: Node
  up: boolean
  modes: Record<Kind, Mode>
  lineage: Lineage
  /** It follows a cluster whose history it may not have taken over. */
  uncertain: boolean
}

interface World {
  clusters: Cluster[]
  steps: number
  counter: number
  /** Names of all that were ever activated. */
  ids: string[]
}

const STEPS = 12
const isDrSecondary = (cluster: Cluster): boolean => cluster.modes.dr === 'secondary'
const leads = (cluster: Cluster): boolean => KINDS.every((kind) => cluster.modes[kind] !== 'secondary')
const at = (kind: Kind, path: string): string => `sys/replication/${kind}/${path}`

/** What a refused command must leave as it is. */
async function roles(cluster: Cluster): Promise<unknown> {
  const found = await Promise.all(
    KINDS.map(async (kind) => {
      const status = await cluster.node.status(kind)
      return { ...pick(status, ['cluster_id', 'secondary_id', 'known_secondaries']), mode: modeOf(status) }
    }),
  )
  return found
}

const modeOf = (status: Record<string, unknown>): unknown =>
  status.mode === 'bootstrapping' ? 'secondary' : status.mode

function pick(from: Record<string, unknown>, names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, from[name]]))
}

/** Every cluster is in the roles the model says, and a leading one holds all that it acknowledged. */
async function check(world: World): Promise<void> {
  for (const [n, cluster] of world.clusters.entries()) {
    if (!cluster.up) continue
    for (const kind of KINDS) {
      // A DR secondary holds its primary's performance role, as far as it has come.
      if (kind === 'performance' && isDrSecondary(cluster)) continue
      const status = await cluster.node.status(kind)
      assert.equal(modeOf(status), cluster.modes[kind], `${kind} role of cluster ${n}`)
      const primaries = (status.primaries ?? []) as unknown[]
      assert.ok(primaries.length <= 1, `cluster ${n} follows ${primaries.length} primaries`)
    }
    if (!leads(cluster) || cluster.uncertain) continue
    const missing = await unexplained(cluster, cluster.lineage.writes)
    assert.equal(missing, undefined, `cluster ${n}: ${missing} is not what was written last`)
  }
  await followedOnce(world)
}

/** A link that ends may take a moment to be noticed. */
async function followedOnce(world: World): Promise<void> {
  await waitFor('no secondary to be followed by two primaries', async () => {
    const connected: string[] = []
    for (const cluster of world.clusters.filter(({ up }) => up)) {
      for (const kind of KINDS) {
        const { secondaries = [] } = (await cluster.node.status(kind)) as { secondaries?: Record<string, unknown>[] }
        for (const { node_id, connection_status } of secondaries)
          if (connection_status === 'connected') connected.push(String(node_id))
      }
    }
    return new Set(connected).size === connected.length
  })
}

/** The first key whose value these writes do not explain. */
async function unexplained(cluster: Cluster, writes: readonly Write[], found?: Map<string, unknown>) {
  const values = found ?? (await contents(cluster))
  return KEYS.find((key) => {
    const ofKey = writes.filter((write) => write.key === key)
    const last = ofKey.findLastIndex(({ acknowledged }) => acknowledged)
    const possible = ofKey.slice(Math.max(last, 0)).map(({ value }): number | undefined => value)
    if (last < 0) possible.push(undefined)
    return !possible.includes(values.get(key) as number | undefined)
  })
}

async function contents(cluster: Cluster): Promise<Map<string, unknown>> {
  const values = new Map<string, unknown>()
  for (const key of KEYS) {
    const answer = await cluster.node.ask('read', `kv/${key}`)
    assert.ok(answer.error === undefined || answer.code === 'CORE_NOT_FOUND', `reading kv/${key}: ${answer.error}`)
    if (answer.data) values.set(key, answer.data.n)
  }
  return values
}

/** The cluster leads from now on: what it holds must be a part, from the start on, of what the one it followed was told. */
async function fork(cluster: Cluster, all: boolean): Promise<void> {
  const { writes } = cluster.lineage
  const found = await contents(cluster)
  for (let length = writes.length; length >= 0; length--) {
    if (all && length < writes.length) break
    const part = writes.slice(0, length)
    if ((await unexplained(cluster, part, found)) !== undefined) continue
    // What is there now is certain.
    const settled = part.filter((write) => write.acknowledged || found.get(write.key) === write.value)
    cluster.lineage = { writes: settled.map((write) => ({ ...write, acknowledged: true })) }
    cluster.uncertain = false
    return
  }
  if (cluster.uncertain) {
    const writes = [...found].map(([key, value]) => ({ key, value: value as number, acknowledged: true }))
    Object.assign(cluster, { lineage: { writes }, uncertain: false })
    return
  }
  assert.fail(
    `holds ${JSON.stringify([...found])}, which ${all ? 'is not all' : 'no part'} of ${JSON.stringify(writes)} explains`,
  )
}

async function newRootToken({ node }: Cluster): Promise<void> {
  node.token = await generate(node, 'root')
}

/** With the operators' consent where the path asks for it. */
async function fields(cluster: Cluster, kind: Kind, given: Record<string, unknown> = {}) {
  if (kind !== 'dr' || !isDrSecondary(cluster)) return given
  return { ...given, dr_operation_token: await generate(cluster.node, 'dr-operation') }
}

/** Asks for a change that must be carried out or refused; a refusal changes nothing. */
async function change(
  cluster: Cluster,
  path: string,
  data: Record<string, unknown>,
  expected: 'done' | 'refused' | 'either',
): Promise<boolean> {
  const before = await roles(cluster)
  let outcome: string
  let reason = ''
  try {
    outcome = await cluster.node.change(path, data)
  } catch (error) {
    outcome = 'refused'
    reason = String(error)
    assert.match(reason, /CORE_INVALID_REQUEST|CORE_UNAVAILABLE|CORE_PERMISSION_DENIED|CORE_NOT_FOUND|BACKEND_/)
  }
  const done = outcome === 'changed'
  if (expected !== 'either') assert.equal(done ? 'done' : 'refused', expected, `${path}: ${outcome} ${reason}`)
  if (!done) assert.deepEqual(await roles(cluster), before, `${path} was ${outcome}`)
  return done
}

/** Until the secondary has all of its primary; false when it may not follow it, because it has followed a later epoch. */
async function caughtUp(primary: Cluster, secondary: Cluster, kind: Kind): Promise<boolean> {
  const found = await waitFor('both ends to agree', async () => {
    const [here, there] = [await primary.node.status(kind), await secondary.node.status(kind)]
    if (/epoch/.test(String(there.last_error))) return 'refused'
    return there.state === 'stream-wals' && here.merkle_root === there.merkle_root && 'agreed'
  })
  return found === 'agreed'
}

type Step = fc.AsyncCommand<World, object>

/** `possible`: it is not refused for the roles alone; other commands are tried less often, see `bold`. */
function step(
  name: string,
  clusters: readonly number[],
  bold: boolean,
  possible: (world: World) => boolean,
  run: (world: World) => Promise<void>,
): Step {
  return {
    check: (world) => world.steps < STEPS && clusters.every((n) => world.clusters[n]!.up) && (bold || possible(world)),
    async run(world) {
      world.steps++
      await run(world)
      await check(world)
    },
    toString: () => name,
  }
}

const one = fc.nat(2)
const two = fc.tuple(one, fc.integer({ min: 1, max: 2 })).map(([a, b]): [number, number] => [a, (a + b) % 3])
const kind = fc.constantFrom(...KINDS)
const bold = fc.nat(7).map((n) => n === 0)

const write = fc.tuple(one, fc.constantFrom(...KEYS)).map(([n, key]) =>
  step(
    `write ${key} at ${n}`,
    [n],
    false,
    () => true,
    async (world) => {
      const cluster = world.clusters[n]!
      const value = ++world.counter
      const { status } = await cluster.node.ask('update', `kv/${key}`, { n: value })
      if (isDrSecondary(cluster)) return assert.notEqual(status, 204, 'a DR secondary took a write')
      if (leads(cluster)) assert.equal(status, 204, 'a leading cluster refused a write')
      cluster.lineage.writes.push({ key, value, acknowledged: status === 204 })
    },
  ),
)

const canEnablePrimary = (cluster: Cluster, of: Kind): boolean =>
  !isDrSecondary(cluster) && cluster.modes[of] === 'disabled'
const enablePrimaryStep = (n: number, of: Kind, any: boolean): Step =>
  step(
    `enable ${of} primary ${n}`,
    [n],
    any,
    (world) => canEnablePrimary(world.clusters[n]!, of),
    async (world) => {
      const cluster = world.clusters[n]!
      const allowed = canEnablePrimary(cluster, of)
      if (!(await change(cluster, at(of, 'primary/enable'), {}, allowed ? 'done' : 'refused'))) return
      cluster.modes[of] = 'primary'
    },
  )
const enablePrimary = fc.tuple(one, kind, bold).map((given) => enablePrimaryStep(...given))

function canFollow(world: World, from: number, to: number, of: Kind): boolean {
  const [primary, next] = [world.clusters[from]!, world.clusters[to]!]
  if (isDrSecondary(primary) || primary.modes[of] !== 'primary') return false
  if (isDrSecondary(next) || next.modes[of] !== 'disabled') return false
  return next.modes[of === 'dr' ? 'performance' : 'dr'] === 'disabled'
}
const activateStep = ([from, to]: [number, number], of: Kind, any: boolean): Step =>
  step(
    `activate ${to} as ${of} secondary of ${from}`,
    [from, to],
    any,
    (world) => canFollow(world, from, to, of),
    async (world) => {
      const [primary, next] = [world.clusters[from]!, world.clusters[to]!]
      const id = `s${world.ids.length}`
      world.ids.push(id)
      const token = await activationToken(primary.node, of, id).catch(() => 'none')
      // A primary that knows of a later epoch takes nobody.
      const allowed = !canFollow(world, from, to, of) ? 'refused' : token === 'none' ? 'either' : 'done'
      if (!(await change(next, at(of, 'secondary/enable'), { token }, allowed))) return
      next.node.keys = primary.node.keys
      next.modes = { performance: 'disabled', dr: 'disabled', [of]: 'secondary' }
      next.lineage = primary.lineage
      next.uncertain = primary.uncertain
      assert.ok(await caughtUp(primary, next, of), 'a new secondary was refused')
      if (of === 'performance') await newRootToken(next)
    },
  )
const activate = fc.tuple(two, kind, bold).map((given) => activateStep(...given))

const isPrimary = (cluster: Cluster, of: Kind): boolean => !isDrSecondary(cluster) && cluster.modes[of] === 'primary'
const demote = fc.tuple(one, kind, bold).map(([n, of, any]) =>
  step(
    `demote ${of} primary ${n}`,
    [n],
    any,
    (world) => isPrimary(world.clusters[n]!, of),
    async (world) => {
      const cluster = world.clusters[n]!
      const allowed = isPrimary(cluster, of)
      if (!(await change(cluster, at(of, 'primary/demote'), {}, allowed ? 'done' : 'refused'))) return
      cluster.modes[of] = 'secondary'
    },
  ),
)

const isSecondary = (cluster: Cluster, of: Kind): boolean =>
  cluster.modes[of] === 'secondary' && (of === 'dr' || !isDrSecondary(cluster))
const promote = fc.tuple(one, kind, fc.boolean(), bold).map(([n, of, force, any]) =>
  step(
    `promote ${of} secondary ${n}${force ? ' by force' : ''}`,
    [n],
    any,
    (world) => isSecondary(world.clusters[n]!, of),
    async (world) => {
      const cluster = world.clusters[n]!
      const path = at(of, 'secondary/promote')
      const allowed = isSecondary(cluster, of)
      const given = await fields(cluster, of, { force })
      const before = await roles(cluster)
      const dry = await cluster.node.ask('update', path, { ...given, dry_run: true })
      assert.equal(dry.status === 200, allowed, `dry run: ${dry.error}`)
      assert.deepEqual(await roles(cluster), before, 'a dry run changed something')
      // A link may come or go between the two.
      const expected = !allowed ? 'refused' : force ? 'done' : 'either'
      if (!(await change(cluster, path, given, expected))) return
      cluster.modes[of] = 'primary'
      await leadsNow(cluster)
      const { receipts } = (await cluster.node.ask('read', at(of, 'promotion-receipts'))).data as {
        receipts: { epoch: number; inherited: boolean; handed_over: boolean; forced: boolean; reasons: unknown[] }[]
      }
      const own = receipts.filter(({ inherited }) => !inherited).sort((a, b) => b.epoch - a.epoch)[0]!
      assert.equal(own.epoch, Math.max(...receipts.map(({ epoch }) => epoch)), 'the newest receipt is its own')
      assert.equal(own.forced, force)
      if (!force) assert.deepEqual(own.reasons, [], 'promoted against a reason')
      if (leads(cluster)) await fork(cluster, own.handed_over)
      else cluster.uncertain = true
    },
  ),
)

/** After it was a DR secondary or gave up being any: it has a root token of its own, and its performance role shows. */
async function leadsNow(cluster: Cluster): Promise<void> {
  await newRootToken(cluster)
  cluster.modes.performance = modeOf(await cluster.node.status('performance')) as Mode
}

const disable = fc.tuple(one, kind, fc.constantFrom('primary', 'secondary'), bold).map(([n, of, role, any]) => {
  const allowed = (cluster: Cluster): boolean => (role === 'primary' ? isPrimary : isSecondary)(cluster, of)
  return step(
    `disable ${of} ${role} ${n}`,
    [n],
    any,
    (world) => allowed(world.clusters[n]!),
    async (world) => {
      const cluster = world.clusters[n]!
      const wasDr = isDrSecondary(cluster)
      const expected = allowed(cluster) ? 'done' : 'refused'
      if (!(await change(cluster, at(of, `${role}/disable`), await fields(cluster, of), expected))) return
      cluster.modes[of] = 'disabled'
      if (wasDr) cluster.modes.performance = 'disabled'
      await newRootToken(cluster)
      if (role === 'secondary' && leads(cluster)) await fork(cluster, false)
      // Its secondaries keep what they have, and get nothing more of it.
      else if (role === 'primary') cluster.lineage = { writes: [...cluster.lineage.writes] }
    },
  )
})

const detach = fc.tuple(one, kind, bold).map(([n, of, any]) =>
  step(
    `detach ${of} secondary ${n}`,
    [n],
    any,
    (world) => isSecondary(world.clusters[n]!, of),
    async (world) => {
      const cluster = world.clusters[n]!
      const expected = isSecondary(cluster, of) ? 'done' : 'refused'
      await change(cluster, at(of, 'secondary/update-primary'), await fields(cluster, of, { token: '' }), expected)
    },
  ),
)

const follow = fc.tuple(two, kind, bold).map(([[from, to], of, any]) =>
  step(
    `${to} follows ${from} as ${of} secondary`,
    [from, to],
    any,
    (world) => isPrimary(world.clusters[from]!, of) && isSecondary(world.clusters[to]!, of),
    async (world) => {
      const [primary, next] = [world.clusters[from]!, world.clusters[to]!]
      const id = `s${world.ids.length}`
      world.ids.push(id)
      const token = await activationToken(primary.node, of, id).catch(() => 'none')
      const possible = isPrimary(primary, of) && isSecondary(next, of)
      const path = at(of, 'secondary/update-primary')
      // It may be of another set.
      if (!(await change(next, path, await fields(next, of, { token }), possible ? 'either' : 'refused'))) return
      if (!(await caughtUp(primary, next, of))) {
        next.uncertain = true
        return
      }
      next.lineage = primary.lineage
      next.uncertain = primary.uncertain
      if (of === 'performance') await newRootToken(next)
    },
  ),
)

const stop = one.map((n) =>
  step(
    `stop ${n}`,
    [n],
    false,
    (world) => world.clusters.filter(({ up }) => up).length > 1,
    async (world) => {
      const cluster = world.clusters[n]!
      await cluster.node.close()
      cluster.up = false
    },
  ),
)

const start = one.map(
  (n): Step => ({
    check: (world) => !world.clusters[n]!.up && world.steps < STEPS,
    async run(world) {
      world.steps++
      const cluster = world.clusters[n]!
      cluster.node = await cluster.node.restart()
      await cluster.node.unseal()
      cluster.up = true
      if (!isDrSecondary(cluster)) await newRootToken(cluster)
      await check(world)
    },
    toString: () => `start ${n}`,
  }),
)

async function newWorld(): Promise<World> {
  const clusters = await Promise.all(
    Array.from({ length: 3 }, async (): Promise<Cluster> => {
      const node = await startNode()
      await node.init()
      await node.ask('update', 'sys/mounts/kv', { type: 'kv' })
      return {
        node,
        up: true,
        modes: { performance: 'disabled', dr: 'disabled' },
        lineage: { writes: [] },
        uncertain: false,
      }
    }),
  )
  return { clusters, steps: 0, counter: 0, ids: [] }
}

/** Kinds and ends of the links a history begins with. */
const topologies: [Kind, number, number][][] = [
  [],
  ...([
    [
      ['performance', 0, 1],
      ['dr', 0, 2],
    ],
    [
      ['performance', 0, 1],
      ['performance', 0, 2],
    ],
  ] as [Kind, number, number][][]),
  ...([
    [
      ['dr', 0, 1],
      ['dr', 0, 2],
    ],
    [
      ['performance', 0, 1],
      ['dr', 1, 2],
    ],
  ] as [Kind, number, number][][]),
]
const beginnings = fc
  .constantFrom(...topologies)
  .map((links) =>
    links.flatMap(([of, from, to], n) => [
      ...(links.slice(0, n).some(([other, same]) => other === of && same === from)
        ? []
        : [enablePrimaryStep(from, of, true)]),
      activateStep([from, to], of, true),
    ]),
  )

const weights: [number, fc.Arbitrary<Step>][] = [
  ...([
    [6, write],
    [2, enablePrimary],
    [4, activate],
    [2, demote],
    [3, promote],
  ] as [number, fc.Arbitrary<Step>][]),
  ...([
    [1, disable],
    [1, detach],
    [2, follow],
    [1, stop],
    [2, start],
  ] as [number, fc.Arbitrary<Step>][]),
]
const steps = weights.flatMap(([weight, arbitrary]) => Array<fc.Arbitrary<Step>>(weight).fill(arbitrary))

test('histories of role changes over three clusters end as the model says', { timeout: 3_600_000 }, async () => {
  const slow = Boolean(process.env.SLOW)
  await fc.assert(
    fc.asyncProperty(beginnings, fc.commands(steps, { maxCommands: 120, size: 'max' }), async (beginning, commands) => {
      const world = await newWorld()
      try {
        for (const first of beginning) await first.run(world, {})
        world.steps = 0
        await fc.asyncModelRun(() => ({ model: world, real: {} }), commands)
      } finally {
        await Promise.all(world.clusters.map(({ node }) => node.close()))
      }
    }),
    // Every history takes seconds: a failure is told as it was found.
    {
      numRuns: slow ? 200 : 12,
      endOnFailure: true,
      ...(slow ? {} : { seed: 20261123 }),
    },
  )
})
