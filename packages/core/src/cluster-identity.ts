/** Name and id of this cluster, made at the first unseal, never replicated, and kept when the cluster joins a primary. */
import { randomUUID } from 'node:crypto'
import { readJson, writeJson } from '@lockstep/backend'
import type { Reader, Store } from '@lockstep/storage'

const KEY = 'core/cluster/local/info'

export interface ClusterIdentity {
  name: string
  id: string
}

/** `configured` wins over the stored name; "" leaves it. */
export async function clusterIdentity(barrier: Store, configured: string): Promise<ClusterIdentity> {
  const stored = await readClusterIdentity(barrier)
  const name = configured || stored?.name || `vault-cluster-${randomUUID().slice(0, 8)}`
  const identity = { name, id: stored?.id ?? randomUUID() }
  if (stored?.name !== identity.name || stored.id !== identity.id) await writeJson(barrier, KEY, identity)
  return identity
}

export async function readClusterIdentity(barrier: Pick<Reader, 'get'>): Promise<ClusterIdentity | undefined> {
  return (await readJson(barrier, KEY)) as ClusterIdentity | undefined
}

export async function copyClusterIdentity(from: Store, to: Store): Promise<void> {
  const stored = await readClusterIdentity(from)
  if (stored !== undefined) await writeJson(to, KEY, stored)
}
