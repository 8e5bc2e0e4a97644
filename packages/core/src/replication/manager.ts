/** The replication roles of this cluster, as the HTTP paths, the health endpoint and the request handler see them. */
import type { ForwardToPrimary } from '../contracts.ts'
import type { IssuedToken, TokenInput } from './activation/secondary-tokens.ts'
import type { Consent, DrRequest } from './consent/dr-authorization.ts'
import type { Diagnostician } from './diagnostics/diagnostics-roles.ts'
import type { Inspector } from './inspect/inspect-roles.ts'
import type { IndexCare } from './maintenance/reindex.ts'
import type { PromotedBy, Receipts } from './promotion/receipts.ts'
import type { FilterRecord, ReplicationKind } from './role-records.ts'
import type { Unreplicated } from './unreplicated/unreplicated.ts'

export type ModeWord = 'disabled' | 'primary' | 'secondary' | 'bootstrapping' | 'unknown'

export interface EnableSecondaryInput {
  token: string
  primaryApiAddr: string
  caFile: string
  caPath: string
  /** Client certificate and key (PEM) for the primary's API; "" = none. */
  clientCertPem: string
  clientKeyPem: string
}

export interface UpdatePrimaryInput extends EnableSecondaryInput {
  /** Undefined = not given; then `token` decides, "" detaches. */
  updatePrimaryAddrs: string[] | undefined
}

export interface PromoteInput {
  primaryClusterAddr: string
  force: boolean
  by: PromotedBy
}

export interface MountFilterView {
  mounts: string[]
  namespaces: string[]
  warnings?: string[]
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
  /** The Merkle index: rebuilt, compared. */
  readonly care: IndexCare
  /** Retries links that failed, at once, and has secondaries compare. Returns what was done, as warnings. */
  recover(): string[]
  /** Last index of the log; 0 when nothing was logged. */
  lastWal(): number

  enablePrimary(kind: ReplicationKind, primaryClusterAddr: string): Promise<void>
  demotePrimary(kind: ReplicationKind): Promise<void>
  disablePrimary(kind: ReplicationKind): Promise<void>
  secondaryToken(kind: ReplicationKind, input: TokenInput): Promise<IssuedToken>
  revokeSecondary(kind: ReplicationKind, id: string): Promise<void>

  filter(id: string): Promise<FilterRecord | undefined>
  setFilter(id: string, filter: { mode: string; paths: string[] }): Promise<void>
  deleteFilter(id: string): Promise<void>
  /** Mounts and namespaces that a filter withholds now; undefined when the id has none. */
  dynamicFilter(id: string): Promise<MountFilterView | undefined>
  /** What this secondary knows of the filter on it; undefined when there is none, or the id is not its own. */
  filterHere(id: string): Promise<MountFilterView | undefined>

  /** A new key pair of this cluster; resolves with the public half. */
  generatePublicKey(kind: ReplicationKind): Promise<string>
  enableSecondary(kind: ReplicationKind, input: EnableSecondaryInput): Promise<void>
  /** What a promotion would be judged by; changes nothing. */
  previewPromotion(kind: ReplicationKind): Promise<Record<string, unknown>>
  promoteSecondary(kind: ReplicationKind, input: PromoteInput): Promise<void>
  readonly receipts: Pick<Receipts, 'all' | 'read'>
  /** Writes of a former primary that nobody else got. */
  readonly unreplicated: Pick<Unreplicated, 'list' | 'read' | 'entries' | 'value' | 'delete'>
  disableSecondary(kind: ReplicationKind): Promise<void>
  updatePrimary(kind: ReplicationKind, input: UpdatePrimaryInput): Promise<void>

  /** On a DR secondary: what proves the operators' consent to the request, in words; undefined when the token does not. */
  checkOperationToken(token: string, request: DrRequest): Promise<Consent | undefined>
  deleteOperationToken(): Promise<void>

  forward: ForwardToPrimary
}
