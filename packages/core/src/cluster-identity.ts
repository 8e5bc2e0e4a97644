/** Name and id of this cluster, made at the first unseal and never replicated. */
import { randomUUID } from 'node:crypto'
import { readJson, writeJson } from '@lockstep/backend'
import type { Store } from '@lockstep/storage'

const KEY = 'core/cluster/local/info'

export interface ClusterIdentity {
  name: string
  id: string
}

/** `configured` wins over the stored name; "" leaves it. */
export async function clusterIdentity(barrier: Store, configured: string): Promise<ClusterIdentity> {
  const stored = await readJson<ClusterIdentity>(barrier, KEY)
  const name = configured || stored?.name || `vault-cluster-${randomUUID().slice(0, 8)}`
  const identity = { name, id: stored?.id ?? randomUUID() }
  if (stored?.name !== name) await writeJson(barrier, KEY, identity)
  return identity
}
