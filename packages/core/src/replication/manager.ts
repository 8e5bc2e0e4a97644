/** The replication roles of this cluster, as the HTTP paths, the health endpoint and the request handler see them. */
import type { ForwardToPrimary, WrapInfo } from '../contracts.ts'
import type { DrRequest } from './dr-authorization.ts'
import type { Diagnostician } from './diagnostics-roles.ts'
import type { Inspector } from './inspect-roles.ts'
import type { FilterRecord, ReplicationKind } from './role-records.ts'

export type ModeWord = 'disabled' | 'primary' | 'secondary' | 'bootstrapping' | 'unknown'

export interface EnableSecondaryInput {
  token: string
  primaryApiAddr: string
  caFile: string
  caPath: string
}

export interface UpdatePrimaryInput extends EnableSecondaryInput {
  /** Undefined = not given; then `token` decides, "" detaches. */
  updatePrimaryAddrs: string[] | undefined
}

export interface PromoteInput {
  primaryClusterAddr: string
  force: boolean
}

export interface MountFilterView {
  mounts: string[]
  namespaces: string[]
}

/** Methods that change a role check everything first, answer, and carry the change out in the background. */
export interface ReplicationManager {
  mode(kind: ReplicationKind): ModeWord
  /** `data` of the status endpoints. */
  status(kind: ReplicationKind): Promise<Record<string, unknown>>
  /** What secondaries hold, proved partition by partition. */
  readonly inspector: Inspector
  /** What is wrong, and what to do about it. */
  readonly diagnostician: Diagnostician
  /** Last index of the log; 0 when nothing was logged. */
  lastWal(): number

  enablePrimary(kind: ReplicationKind, primaryClusterAddr: string): Promise<void>
  demotePrimary(kind: ReplicationKind): Promise<void>
  disablePrimary(kind: ReplicationKind): Promise<void>
  /** `ttl` in seconds. */
  secondaryToken(kind: ReplicationKind, input: { id: string; ttl: number }): Promise<WrapInfo>
  revokeSecondary(kind: ReplicationKind, id: string): Promise<void>

  filter(id: string): Promise<FilterRecord | undefined>
  setFilter(id: string, filter: { mode: string; paths: string[] }): Promise<void>
  deleteFilter(id: string): Promise<void>
  /** Mounts and namespaces that a filter withholds now; undefined when the id is not known. */
  dynamicFilter(id: string): Promise<MountFilterView | undefined>

  enableSecondary(kind: ReplicationKind, input: EnableSecondaryInput): Promise<void>
  promoteSecondary(kind: ReplicationKind, input: PromoteInput): Promise<void>
  disableSecondary(kind: ReplicationKind): Promise<void>
  updatePrimary(kind: ReplicationKind, input: UpdatePrimaryInput): Promise<void>

  /** On a DR secondary: whether the token proves the operators' consent to the request. */
  checkOperationToken(token: string, request: DrRequest): Promise<boolean>
  deleteOperationToken(): Promise<void>

  forward: ForwardToPrimary
}
