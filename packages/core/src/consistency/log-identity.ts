/** An id of this cluster's log. A cluster that joins a primary starts a new log, and with it a new id: indexes of the old one mean nothing. */
import { readJson, writeJson } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'

/** Class ignored: neither shipped to a DR secondary, which has a log of its own, nor taken over into a new storage. */
const KEY = 'core/cluster/local/log'

export async function logIdentity(barrier: Store, random: (bytes: number) => Uint8Array): Promise<string> {
  const stored = (await readJson(barrier, KEY)) as { id: string } | undefined
  if (stored !== undefined) return stored.id
  const id = Buffer.from(random(4)).toString('hex')
  await writeJson(barrier, KEY, { id })
  return id
}
