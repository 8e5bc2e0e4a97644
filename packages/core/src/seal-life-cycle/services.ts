/** What runs on top of an unsealed barrier, as the life cycle sees it. */
import type { Keyring } from '@lockstep/barrier'
import type { Store } from '@lockstep/storage'
import type { CoreRequest, CoreResponse } from '../contracts.ts'
import type { ClusterStore } from './cluster-store.ts'
import type { ShareCounts } from './key-shares.ts'
import type { OperatorKey } from './seal-material.ts'

export interface Unsealed {
  readonly store: ClusterStore
  readonly barrier: Store
  keyring(): Keyring
  /** Re-reads `core/keyring` after replication changed it; it is sealed by the same root key. */
  reloadKeyring(): Promise<void>
  /** New term, stored before it is used. Rejects as the barrier does on a secondary (read-only). */
  rotateKeyring(): Promise<void>
  /**
   * Called now and then where the keyring may be written: rotates when the key has had its allowance of encryptions, and saves the
   * count of encryptions once it has grown by 2^20.
   */
  keepKeyring(): Promise<void>
  /** A copy of what operators hold shares of, for a secondary's bootstrap and to check shares: overwrite it after use. */
  operatorKey(): Promise<OperatorKey>
  shareCounts(): Promise<ShareCounts>
  /**
   * Puts `next` in the place of the operators' key, in one transaction with `records`, which are stored as they are; takes over its
   * bytes. Rejects as the barrier does on a secondary (read-only).
   */
  replaceOperatorKey(next: OperatorKey, records?: ReadonlyMap<string, Uint8Array>): Promise<void>
  /** Of a secondary: takes over the key that the primary's operators hold shares of, when that was replicated and is another. */
  followOperatorKey(): Promise<void>
  /** Of any other cluster: what secondaries are told is the key in force, also after a snapshot of former days was restored. */
  tellOperatorKey(): Promise<void>
}

export interface Services {
  handle(request: CoreRequest): Promise<CoreResponse>
  /** Whether the token is a live one that may be used from this address for this path, whatever it may do there. */
  authenticates(caller: { token: string; path: string; remoteAddress: string }): Promise<boolean>
  /** Generates a root token, returned once. Absent on a DR secondary. */
  createRootToken?(id?: string): Promise<string>
  /** Stops taking requests first; resolves when nothing runs any more. */
  stop(): Promise<void>
  /** SIGHUP: files that were rotated away are opened again. */
  reopenLogs?(): Promise<void>
}
