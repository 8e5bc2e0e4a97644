/** The simulation's own idea of what a key is and who may hold it: nothing of it is taken from the product. */
import type { LinkKind } from '@lockstep/replication'

export interface Mount {
  uuid: string
  path: string
  local: boolean
}

export interface Filter {
  mode: 'allow' | 'deny'
  paths: string[]
}

const DATA = 'logical/'
export const MOUNT_RECORDS = 'core/mounts/'
export const LOCAL_MOUNT_RECORDS = 'core/local-mounts/'
/** Travels with the cluster to its DR secondary. */
export const CLUSTER_ROLE = 'core/cluster/replicated/role'
export const MEMBERS = 'core/cluster/replicated/member/'
export const DR_MEMBERS = 'core/replication/dr-member/'
export const ROLE = 'core/replication/role'
export const positionKey = (kind: LinkKind): string => `core/replication/cursor/${kind}`

/** Local parts of shared mounts; uuids of local mounts begin with an `l`. */
export const LOCAL_STORAGE = 'loc/'

export function classOf(key: string): 'replicated' | 'local' | 'ignored' {
  if (key.startsWith('core/replication/') || key.startsWith('\u0000')) return 'ignored'
  const local =
    key.includes(`/${LOCAL_STORAGE}`) ||
    key.startsWith('logical/l') ||
    key.startsWith(LOCAL_MOUNT_RECORDS) ||
    key.startsWith('core/cluster/replicated/') ||
    key.startsWith('sys/expire/')
  return local ? 'local' : 'replicated'
}

/** Uuid of the mount that the key belongs to; undefined for the core. */
export function mountOf(key: string): string | undefined {
  if (key.startsWith(DATA)) return key.slice(DATA.length, key.indexOf('/', DATA.length))
  if (key.startsWith(MOUNT_RECORDS)) return key.slice(MOUNT_RECORDS.length)
  return key.startsWith(LOCAL_MOUNT_RECORDS) ? key.slice(LOCAL_MOUNT_RECORDS.length) : undefined
}

export function filterAllows(filter: Filter | undefined, path: string | undefined): boolean {
  if (filter === undefined) return true
  if (path === undefined) return false
  return filter.paths.includes(path) === (filter.mode === 'allow')
}

export function mayTravel(kind: LinkKind, key: string): boolean {
  const keyClass = classOf(key)
  return keyClass === 'replicated' || (keyClass === 'local' && kind === 'dr')
}
