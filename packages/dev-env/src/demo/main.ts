/** `npm run demo`: three clusters on this machine. `--keep` leaves them running until Ctrl-C. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Cluster } from '../cluster.ts'
import { failOver, load, replicate, type Story, startClusters } from './story.ts'
import { demoView, type View } from './view.ts'

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } })
const started: Cluster[] = []
const directory = await mkdtemp(join(tmpdir(), 'lockstep-demo-'))
const view = demoView(() => started)

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
  const story = await startClusters(directory, started, view)
  const token = await replicate(story, view)
  await load(story, view)
  if (values.keep) await keep(story, token, view)
  else {
    await failOver(story, token, view)
    view.say('')
    view.say('Everything held. Nothing is left behind; `npm run demo -- --keep` leaves the clusters running.')
  }
} catch (error) {
  view.stop()
  console.error(`demo failed: ${(error as Error).stack}`)
  process.exitCode = 1
} finally {
  await cleanUp()
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
  await Promise.all(started.map((cluster) => cluster.stop('SIGKILL')))
  for (const cluster of started) cluster.client.close()
  await rm(directory, { recursive: true, force: true, maxRetries: 5 })
}
