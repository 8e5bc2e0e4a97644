/** `node follower.js DIRECTORY CREDENTIALS HTTP_PORT LEADER_ADDRESS`: holds what the leader lets it hold, and serves reads of it. */
import { readFile } from 'node:fs/promises'
import { primaryServerName } from '@lockstep/bootstrap'
import { acceptTagged, followPrimary } from '@lockstep/replication-driver'
import { ALPN, dialCluster } from '@lockstep/replication-transport'
import { CLUSTER_ID, hex, KIND, openSettings, POSITION_KEY, serveSettings } from './settings.js'

const [directory, credentialsFile, httpPort, leader] = process.argv.slice(2)
const { id, ...credentials } = JSON.parse(await readFile(credentialsFile, 'utf8'))
const { store, classes, close } = await openSettings(directory, { leader: false })

store.onChanged((keys, source) => {
  // A real service drops its caches here.
  if (source === 'upstream') for (const key of keys) if (key !== POSITION_KEY) console.error(`changed: ${key}`)
})

const following = followPrimary(
  {
    store,
    accept: acceptTagged(classes, KIND),
    dial: (signal) =>
      dialCluster({
        addresses: [leader],
        servername: primaryServerName(CLUSTER_ID),
        alpn: ALPN[KIND],
        ...credentials,
        signal,
      }),
  },
  { kind: KIND, secondaryId: id, positionKey: POSITION_KEY, backoff: { minMs: 100, maxMs: 2000 } },
)

const status = () => {
  const { connectionState, state, position, lagMs, lastError } = following.status()
  const root = hex(store.forest.composedRoot(() => true))
  return { connectionState, state, index: position.cursor?.index ?? 0, lagMs, lastError, root }
}
const http = await serveSettings(store, Number(httpPort), status)
console.log(JSON.stringify({ http }))

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await following.close()
    await close()
    process.exit(0)
  })
}
