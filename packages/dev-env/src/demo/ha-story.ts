/** What `demo --ha` shows: two clusters of three nodes each, replicating, with the active node of each killed while writes go on. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  enablePrimary,
  type HaCluster,
  haCluster,
  type Load,
  linkSecondary,
  longestPause,
  missingOn,
  replicationStatus,
  type StorageKind,
  startLoad,
  waitFor,
  waitUntilInSync,
} from '../index.ts'
import type { View } from './view.ts'

export interface HaStory {
  primary: HaCluster
  secondary: HaCluster
}

const POLICY = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'
const QUIET_MS = 2000
const WRITERS = 4

export async function startHaClusters(
  directory: string,
  view: View,
  hooks: { begun(end: () => Promise<void>): void; started(cluster: HaCluster): void },
): Promise<HaStory> {
  view.step('Two clusters of three nodes each: one over PostgreSQL, one over etcd')
  const start = async (name: string, storage: StorageKind): Promise<HaCluster> => {
    const cluster = await haCluster({ directory: join(directory, name), name, storage, begun: hooks.begun })
    hooks.started(cluster)
    const active = await cluster.active()
    for (const node of cluster.nodes) {
      view.say(
        `${node.name.padEnd(14)} ${node.address}  pid ${node.process.pid}${node === active ? ', active' : ', standby'}`,
      )
    }
    return cluster
  }
  return { primary: await start('nyc', 'postgresql'), secondary: await start('eu', 'etcd') }
}

export async function replicateHa({ primary, secondary }: HaStory, view: View): Promise<void> {
  view.step('Performance replication from nyc to eu')
  await primary.client.write('sys/policies/acl/operator', { policy: POLICY })
  await primary.client.write('sys/auth/userpass', { type: 'userpass' })
  await primary.client.write('auth/userpass/users/demo', { password: 'demo', token_policies: 'operator' })
  await primary.client.write('sys/mounts/secret', { type: 'kv' })
  for (let n = 0; n < 50; n++) await primary.client.write(`secret/app-${n}`, { password: `p-${n}` })
  await enablePrimary(primary, 'performance')
  await linkSecondary(primary, secondary, 'performance', 'eu')
  await waitUntilInSync(primary, secondary, 'performance')
  await waitFor('the standbys of eu to unseal with the new keys', async () => {
    return (await secondary.states()).every((state) => state === 'active' || state === 'standby')
  })
  const login = await secondary.client.write('auth/userpass/login/demo', { password: 'demo' }, { token: '' })
  secondary.client.token = login.body.auth.client_token
  assert.equal((await secondary.client.read('secret/app-7')).body.data.password, 'p-7')
  view.say('same Merkle root on both ends; secret/app-7 reads on eu')
  await view.snapshot()
}

export async function killOnEachSide(story: HaStory, view: View): Promise<void> {
  const { primary, secondary } = story
  view.step(
    `Writes through every node of both clusters: ${WRITERS} writers at nyc, ${WRITERS} at eu, whose writes are forwarded to nyc`,
  )
  const through = (cluster: HaCluster): Load =>
    startLoad({
      prefix: `secret/${cluster.name}`,
      writers: WRITERS,
      token: cluster.client.token,
      to: cluster.nodes.map(({ name }, number) => ({ name, client: cluster.clientOf(number) })),
    })
  const [atPrimary, atSecondary] = [through(primary), through(secondary)]
  const watch = watchLag(secondary)
  try {
    await delay(QUIET_MS)
    view.say(
      `${atPrimary.acknowledged.length} + ${atSecondary.acknowledged.length} acknowledged so far, lag ${watch.lag()}`,
    )
    await killActive(primary, story, { atPrimary, atSecondary, watch }, view)
    await killActive(secondary, story, { atPrimary, atSecondary, watch }, view)
  } finally {
    await Promise.all([atPrimary.stop(), atSecondary.stop(), watch.stop()])
  }

  view.step('Every acknowledged write is read back, on both clusters')
  await waitUntilInSync(primary, secondary, 'performance')
  const writes = [...atPrimary.acknowledged, ...atSecondary.acknowledged]
  for (const cluster of [primary, secondary]) {
    const missing = await missingOn(cluster, writes, cluster.client.token)
    view.say(`${cluster.name.padEnd(14)} ${writes.length} acknowledged writes, ${missing.length} lost`)
    assert.deepEqual(missing, [])
  }
  await view.snapshot()
}

interface UnderWay {
  atPrimary: Load
  atSecondary: Load
  watch: Watch
}

async function killActive(
  cluster: HaCluster,
  { primary, secondary }: HaStory,
  load: UnderWay,
  view: View,
): Promise<void> {
  const { atPrimary, atSecondary, watch } = load
  const old = await cluster.active()
  view.step(`The active node of ${cluster.name} is killed (SIGKILL): ${old.name}, pid ${old.process.pid}`)
  const before = watch.diffs()
  const killedAt = Date.now()
  await old.kill()
  const next = await cluster.active()
  view.say(`${next.name} is active ${seconds(Date.now() - killedAt)} after the kill`)
  for (const [name, { acknowledged }] of [
    [primary.name, atPrimary],
    [secondary.name, atSecondary],
  ] as const) {
    const seen = acknowledged.length
    await waitFor(`writes through ${name}`, () => acknowledged.length > seen + 20, { intervalMs: 10 })
    view.say(
      `clients of ${name}: longest time without an acknowledged write ${longestPause(acknowledged, killedAt, Date.now()).toFixed(2)} s`,
    )
  }
  const head = (await replicationStatus(primary, 'performance')).last_wal
  await waitFor('eu to stream with a lag under a second', async () => {
    const status = await replicationStatus(secondary, 'performance')
    return isGood(status) && status.last_remote_wal >= head
  })
  const comparisons = watch.diffs() - before
  view.say(
    `eu streams with a lag under 1 s ${seconds(Date.now() - killedAt)} after the kill, by ${comparisons} Merkle comparisons`,
  )
  await old.start()
  await waitFor(`${old.name} to be a standby`, async () => (await old.state()) === 'standby')
  view.say(`${old.name} is back, as a standby`)
  await delay(QUIET_MS)
}

interface Watch {
  lag(): string
  /** Comparisons of whole trees the secondary has made so far, over all its links. */
  diffs(): number
  stop(): Promise<void>
}

function watchLag(secondary: HaCluster): Watch {
  let running = true
  let [diffs, rounds] = [0, 0]
  let lagMs = Number.NaN
  const poll = async (): Promise<void> => {
    let first = true
    while (running) {
      const status = await replicationStatus(secondary, 'performance').catch(() => undefined)
      if (status?.lag_ms !== undefined) lagMs = status.lag_ms
      const seen: number | undefined = status?.diff_rounds
      if (seen !== undefined) {
        // Each link counts its own.
        if (!first) diffs += seen >= rounds ? seen - rounds : seen
        rounds = seen
        first = false
      }
      await delay(25)
    }
  }
  const done = poll()
  return {
    lag: () => `${Math.round(lagMs)} ms`,
    diffs: () => diffs,
    async stop() {
      running = false
      await done
    },
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a status document
function isGood(status: any): boolean {
  return status?.state === 'stream-wals' && status.connection_state === 'ready' && status.lag_ms < 1000
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}
