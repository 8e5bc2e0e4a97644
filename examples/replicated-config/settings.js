/** What leader and follower agree on: which settings there are, where they are stored, and how they are served. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { loggedStore } from '@lockstep/replication-driver'
import { classRules } from '@lockstep/storage-classes'
import { levelEngine } from '@lockstep/storage-level'

export const KIND = 'performance'
/** Name of the set: leader and followers. */
export const CLUSTER_ID = 'replicated-config'
/** Where a follower remembers how far it is. Of class ignored: its own business. */
export const POSITION_KEY = 'own/position'
/** A setting `features/dark-mode` belongs to the prefix `features/`. The leader withholds by prefix. */
const PREFIXES = ['app', 'features', 'private']

const keyOf = (name) => `logical/${name}`

export function settingsClasses() {
  const classes = classRules([{ prefix: 'own/', class: 'ignored' }])
  for (const uuid of PREFIXES) {
    classes.registerMount({ uuid, keyPrefix: keyOf(`${uuid}/`), mountPath: `${uuid}/`, local: false, localStorage: [] })
  }
  return classes
}

/** Opens the store in `directory`. Every commit writes data, log record and Merkle leaf at once, and is on disk when it resolves. */
export async function openSettings(directory, { leader }) {
  const classes = settingsClasses()
  const engine = await levelEngine({ path: directory })
  const store = await loggedStore(engine, {
    classify: classes.classify,
    writable: (keyClass) => leader || keyClass.class === 'ignored',
    keepLog: () => leader,
  })
  const close = async () => {
    await store.close()
    await engine.close()
  }
  return { store, classes, close }
}

/** GET and PUT of `/<prefix>/<name>`, and `GET /` for what `status` tells. Resolves with the port. */
export async function serveSettings(store, port, status) {
  const server = createServer(async (request, response) => {
    const reply = (code, body = '') => response.writeHead(code).end(body)
    try {
      const name = decodeURIComponent(request.url.slice(1))
      if (name === '') return reply(200, JSON.stringify(status()))
      if (request.method === 'PUT') {
        await store.put(keyOf(name), Buffer.from(await text(request)))
        return reply(204)
      }
      const value = await store.get(keyOf(name))
      return value ? reply(200, value) : reply(404)
    } catch (error) {
      const refused = ['REPLICATION_READ_ONLY', 'STORAGE_CLASS_UNKNOWN_KEY'].includes(error.code)
      reply(refused ? 403 : 500, `${error.message}\n`)
    }
  }).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

export const hex = (digest) => Buffer.from(digest).toString('hex')
