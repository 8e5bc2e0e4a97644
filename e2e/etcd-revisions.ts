/** Every change an etcd has kept, from its first revision on, over its JSON gateway. */
import { request } from 'node:http'

export interface Revision {
  key: string
  /** Undefined when the key was deleted. */
  value: Buffer | undefined
  deleted: boolean
  revision: number
  /** Revision at which the key was made; 0 when it was deleted. */
  created: number
}

interface WatchReply {
  result?: {
    canceled?: boolean
    compact_revision?: string
    events?: { type?: string; kv: { key: string; value?: string; mod_revision: string; create_revision?: string } }[]
  }
  error?: unknown
}

const EVERYTHING = Buffer.from([0]).toString('base64')
const TIMEOUT_MS = 60_000

/** In order. Rejects when some were compacted, or they do not all come within a minute. */
export async function etcdRevisions(url: string): Promise<Revision[]> {
  const newest = await newestRevision(url)
  const found: Revision[] = []
  const create = { key: EVERYTHING, range_end: EVERYTHING, start_revision: '1' }
  for await (const line of lines(`${url}/v3/watch`, JSON.stringify({ create_request: create }))) {
    const { result, error } = JSON.parse(line) as WatchReply
    if (result === undefined || result.canceled)
      throw new Error(`etcd gives no history: ${JSON.stringify(error ?? result)}`)
    for (const { type, kv } of result.events ?? []) {
      const deleted = type === 'DELETE'
      found.push({
        key: Buffer.from(kv.key, 'base64').toString('utf8'),
        value: deleted ? undefined : Buffer.from(kv.value ?? '', 'base64'),
        deleted,
        revision: Number(kv.mod_revision),
        created: Number(kv.create_revision ?? 0),
      })
    }
    if ((found.at(-1)?.revision ?? 1) >= newest) return found
  }
  throw new Error(`etcd's history ended before revision ${newest}`)
}

async function newestRevision(url: string): Promise<number> {
  for await (const line of lines(`${url}/v3/kv/range`, JSON.stringify({ key: EVERYTHING }))) {
    return Number((JSON.parse(line) as { header: { revision: string } }).header.revision)
  }
  throw new Error('etcd gave no answer')
}

/** Of the answer, as they come. */
async function* lines(url: string, body: string): AsyncGenerator<string> {
  const outgoing = request(url, { method: 'POST', agent: false, timeout: TIMEOUT_MS })
  outgoing.on('timeout', () => outgoing.destroy(new Error('etcd gave no answer in time')))
  outgoing.end(body)
  const incoming = await new Promise<AsyncIterable<Buffer>>(
    (resolve, reject) => void outgoing.once('response', resolve).once('error', reject),
  )
  let rest: Buffer[] = []
  try {
    for await (const chunk of incoming) {
      let from = 0
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
        yield Buffer.concat([...rest, chunk.subarray(from, end)]).toString('utf8')
        rest = []
        from = end + 1
      }
      rest.push(chunk.subarray(from))
    }
    const last = Buffer.concat(rest).toString('utf8')
    if (last.trim() !== '') yield last
  } finally {
    outgoing.destroy()
  }
}
