/** Writers that know exactly which of their writes were acknowledged, by whom and with which index. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster } from './cluster.ts'

export interface Acknowledged {
  /** Path with the mount. */
  key: string
  n: number
  /** The cluster that answered. */
  by: string
  /** ms since the epoch. */
  at: number
  /** Of its own log as `X-Vault-Index` gives it: at this write's record or after. Undefined when the answer had none. */
  index: number | undefined
}

/** Whom writers ask: a cluster, or a client of one of its nodes. */
export type Target = Pick<Cluster, 'name' | 'client'>

export interface Load {
  /** In order of acknowledgement. Each write has a key of its own, so nothing overwrites anything. */
  readonly acknowledged: readonly Acknowledged[]
  /** Writes go there from now on; what is under way is tried again there. */
  to(target: Target): void
  stop(): Promise<void>
}

/** Each key is written until it is acknowledged, whichever cluster does it. `token` is the clients', the same on every cluster. */
export function startLoad(options: {
  /** Where the keys begin: `<mount>/<anything>`. No two loads may share it. */
  prefix: string
  writers: number
  token: string
  /** Several: the writers take turns in choosing one. */
  to: Target | readonly Target[]
}): Load {
  const { prefix, writers, token } = options
  const acknowledged: Acknowledged[] = []
  let targets = [options.to].flat()
  let running = true

  async function writer(id: number): Promise<void> {
    for (let n = 0; running; n++) {
      const key = `${prefix}/${id}/${n}`
      while (running && !(await attempt(id, key, n))) await delay(10)
    }
  }

  async function attempt(id: number, key: string, n: number): Promise<boolean> {
    const asked = targets[id % targets.length]!
    const call = { token, timeoutMs: 5_000 }
    const reply = await asked.client.call('PUT', key, { n }, call).catch(() => undefined)
    // 200: with a warning, such as that this cluster has not applied it yet.
    if (reply?.status !== 204 && reply?.status !== 200) return false
    acknowledged.push({ key, n, by: asked.name, at: Date.now(), index: localIndex(reply.headers['x-vault-index']) })
    return true
  }

  const done = Promise.all(Array.from({ length: writers }, (_, id) => writer(id)))
  return {
    acknowledged,
    to(target) {
      targets = [target]
    },
    async stop() {
      running = false
      await done
    },
  }
}

/** The longest time in which nothing was acknowledged, in seconds, among writes acknowledged between two moments (ms). */
export function longestPause(writes: readonly Acknowledged[], from: number, until: number): number {
  const times = [from, ...writes.map(({ at }) => at).filter((at) => at >= from && at <= until), until]
  return Math.max(...times.slice(1).map((at, index) => at - times[index]!)) / 1000
}

/** Which of the writes the cluster does not have. */
export async function missingOn(
  cluster: Target,
  writes: readonly Acknowledged[],
  token: string,
): Promise<Acknowledged[]> {
  const missing: Acknowledged[] = []
  let next = 0
  const reader = async (): Promise<void> => {
    while (next < writes.length) {
      const write = writes[next++]!
      const reply = await cluster.client.call('GET', write.key, undefined, { token })
      if (reply.status === 404) missing.push(write)
      else if (reply.status !== 200 || reply.body.data.n !== write.n) {
        throw new Error(`${cluster.name}: ${write.key}: ${reply.status} ${JSON.stringify(reply.body)}`)
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, reader))
  return missing
}

/** `v1:<cluster>:<local index>:<replicated index>:<HMAC>`, base64; the digits before the last 15 are the epoch's. */
function localIndex(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string') return undefined
  const place = Buffer.from(header, 'base64').toString('latin1').split(':')[2]
  return place === undefined ? undefined : Number(place.slice(-15))
}
