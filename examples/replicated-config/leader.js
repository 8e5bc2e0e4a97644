/** `node leader.js DIRECTORY CREDENTIALS HTTP_PORT CLUSTER_PORT`: takes writes, and serves followers what the filter lets through. */
import { readFile } from 'node:fs/promises'
import { fingerprint, primaryServerName } from '@lockstep/bootstrap'
import { shipping } from '@lockstep/replication'
import { filteredView, serveSecondary } from '@lockstep/replication-driver'
import { ALPN, clusterListener } from '@lockstep/replication-transport'
import { CLUSTER_ID, hex, KIND, openSettings, serveSettings } from './settings.js'

const [directory, credentialsFile, httpPort, clusterPort] = process.argv.slice(2)
const { ca, cert, key, followers } = JSON.parse(await readFile(credentialsFile, 'utf8'))
const { store, classes, close } = await openSettings(directory, { leader: true })

const view = filteredView({
  kind: KIND,
  mountPathOf: classes.mountPath,
  filter: { mode: 'deny', paths: ['private/'] },
})

const listener = await clusterListener({
  host: '127.0.0.1',
  port: Number(clusterPort),
  onRefused: ({ remoteAddress, message }) => console.error(`refused ${remoteAddress}: ${message}`),
})
listener.register({
  alpn: ALPN[KIND],
  servername: primaryServerName(CLUSTER_ID),
  ...{ ca, cert, key },
  authorize(certificate) {
    const id = followers[fingerprint(certificate)]
    return id ? { id } : { refused: 'not a follower of this leader' }
  },
  onLink: (link) =>
    serveSecondary(
      { store, link, view },
      { kind: KIND, clusterId: CLUSTER_ID, secondaryId: link.peer, consumer: link.peer },
    ),
})

// Keep the log for followers that are away, also after a restart: they resume instead of comparing everything.
for (const id of Object.values(followers)) store.log.retain(id, store.log.oldest() - 1)

// The root of what a follower may hold: equal to the follower's own root when it has all of it and nothing else.
const { shipsPartition } = shipping(KIND, view)
const status = () => ({ index: store.log.head().index, root: hex(store.forest.composedRoot(shipsPartition)) })
const http = await serveSettings(store, Number(httpPort), status)
console.log(JSON.stringify({ http, cluster: listener.address.port }))

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await listener.close()
    await close()
    process.exit(0)
  })
}
