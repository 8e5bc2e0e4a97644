import type { MountEntry } from '../contracts.ts'
import { newAccessor, newUuid, type Random } from './mount-identity.ts'

/** The mounts every cluster has, in the order in which they claim their points. */
export const builtinMounts: readonly Pick<
  MountEntry,
  'table' | 'path' | 'type' | 'description' | 'local' | 'sealWrap'
>[] = [
  {
    table: 'secret',
    path: 'sys/',
    type: 'system',
    description: 'system endpoints used for control, policy and debugging',
    local: false,
    sealWrap: true,
  },
  {
    table: 'auth',
    path: 'token/',
    type: 'token',
    description: 'token based credentials',
    local: false,
    sealWrap: false,
  },
  {
    table: 'secret',
    path: 'cubbyhole/',
    type: 'cubbyhole',
    description: 'per-token private secret storage',
    local: true,
    sealWrap: false,
  },
]

export function newBuiltin(definition: (typeof builtinMounts)[number], random: Random): MountEntry {
  return {
    ...definition,
    uuid: newUuid(random),
    accessor: newAccessor(definition.table, definition.type, random),
    options: {},
    tainted: false,
    config: {
      default_lease_ttl: 0,
      max_lease_ttl: 0,
      force_no_cache: false,
      ...(definition.table === 'auth' ? { token_type: 'default-service' } : {}),
      ...(definition.type === 'system' ? { passthrough_request_headers: ['Accept'] } : {}),
    },
  }
}
