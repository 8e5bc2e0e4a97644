/**
 * `npm run demo`: three clusters of one node each on this machine. `--ha`: two clusters of three nodes each, over PostgreSQL and etcd.
 * `--keep` leaves them running until Ctrl-C.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { killOnEachSide, replicateHa, startHaClusters } from './ha-story.ts'
import { failOver, load, replicate, type Story, startClusters } from './story.ts'
import { demoView, type Shown, type View } from './view.ts'

const flag = { type: 'boolean', default: false } as const
const { values } = parseArgs({ options: { keep: flag, ha: flag } })
const shown: Shown[] = []
const ends: (() => Promise<void>)[] = []
const directory = await mkdtemp(join(tmpdir(), 'lockstep-demo-'))
const view = demoView(() => shown)

// A terminal's Ctrl-C comes twice when npm passes it on as well: the second must not cut the cleaning up short.
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupted) return
    interrupted = true
    void cleanUp().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  })
}

try {
  await (values.ha ? haDemo() : demo())
} catch (error) {
  view.stop()
  console.error(`demo failed: ${(error as Error).stack}`)
  process.exitCode = 1
} finally {
  await cleanUp()
}

async function demo(): Promise<void> {
  const story = await startClusters(directory, view, (cluster) => {
    shown.push(cluster)
    ends.push(() => cluster.stop('SIGKILL').finally(cluster.client.close))
  })
  const token = await replicate(story, view)
  await load(story, view)
  if (values.keep) return keep(story, token, view)
  await failOver(story, token, view)
  done()
}

async function haDemo(): Promise<void> {
  const story = await startHaClusters(directory, view, {
    begun: (end) => ends.push(end),
    started: (cluster) => shown.push(cluster),
  })
  await replicateHa(story, view)
  await killOnEachSide(story, view)
  if (!values.keep) return done()
  view.step('The clusters keep running until Ctrl-C')
  for (const { nodes, client } of [story.primary, story.secondary]) {
    for (const node of nodes) view.say(`${node.name.padEnd(14)} VAULT_ADDR=${node.address} VAULT_TOKEN=${client.token}`)
  }
  view.say(`data and logs: ${directory}`)
  await new Promise(() => {})
}

function done(): void {
  view.say('')
  view.say('Everything held. Nothing is left behind; `--keep` leaves the clusters running.')
}

async function keep({ primary, performance, dr }: Story, token: string, view: View): Promise<void> {
  view.step('The clusters keep running until Ctrl-C')
  for (const cluster of [primary, performance, dr]) {
    const use = cluster === dr ? '(serves clients once promoted)' : cluster.client.token
    view.say(`${cluster.name.padEnd(14)} VAULT_ADDR=${cluster.address} VAULT_TOKEN=${use}`)
  }
  view.say(`a token of the primary that a promoted DR secondary honours: ${token}`)
  view.say(`unseal keys of all three: ${primary.keys.join(' ')}`)
  view.say(`data and logs: ${directory}`)
  await new Promise(() => {})
}

async function cleanUp(): Promise<void> {
  view.stop()
  await Promise.all(ends.map((end) => end()))
  await rm(directory, { recursive: true, force: true, maxRetries: 5 })
}
