/** A node's life cycle as the rest of the core sees it: sealed → standby → active, and the changes of what is stored. */
import type { Store } from '@lockstep/storage'
import type { CoreRequest, CoreResponse } from '../contracts.ts'
import type { BootstrapReply } from '../replication/activation/bootstrap-reply.ts'
import type { ClusterStore } from './cluster-store.ts'
import type { StagedGeneration } from './generations.ts'
import type { HandedOut } from './hand-out.ts'
import type { InitializeParams } from './initialize.ts'
import type { SealConfig } from './seal-config.ts'
import type { Services, Unsealed } from './services.ts'

export interface LifeCycle {
  state(): 'sealed' | 'standby' | 'active'
  store(): ClusterStore
  services(): Services | undefined
  /** Whether requests are another node's: of an unsealed node with a leader lock, unless it leads and serves. */
  standsBy(): boolean
  /** Whether the node leads and its services take requests. Of a node with a leader lock only. */
  serves(): boolean
  activeSince(): number
  /** Undefined until initialised. */
  sealConfig(): Promise<SealConfig | undefined>
  recoveryConfig(): Promise<SealConfig | undefined>
  progress(): { progress: number; nonce: string }
  /** Leaves the node sealed, with an auto seal active. When it rejects, the storage is not initialised. */
  initialize(params: InitializeParams): Promise<{ shares: HandedOut; rootToken: string }>
  /** With `migrate` by the shares of the seal to migrate from; the seal is migrated when the node leads. */
  unseal(params: { key?: unknown; reset?: unknown; migrate?: unknown }): Promise<void>
  /** Whether the seal waits to be migrated. False when that cannot be told. */
  isMigrating(): Promise<boolean>
  /**
   * At start-up. Unseals with the auto seal when there is one and the storage is initialised; a seal that cannot open it now is tried
   * again and again in the background. Rejects when the storage is sealed in another way than the configuration says.
   */
  autoUnseal(): Promise<void>
  seal(): Promise<void>
  /** See `Unsealed`. Rejects with CORE_SEALED, and on a standby with CORE_STANDBY. */
  replaceOperatorKey: Unsealed['replaceOperatorKey']
  /** Gives up the lead for a while, when other nodes could take it. */
  stepDown(): Promise<void>
  /**
   * Stops the services, runs `change`, starts them again even when `change` fails. When they do not start, the node seals itself, or
   * with a leader lock becomes a standby. `before` runs once no request is under way and the services still do; when it fails there
   * is no `change`.
   */
  transition(
    change: (unsealed: Unsealed) => Promise<void>,
    before?: (unsealed: Unsealed) => Promise<void>,
  ): Promise<void>
  /**
   * Replaces everything stored by an empty storage under the primary's keyring; `fill` writes what belongs in it besides seal and
   * keyring. Takes over the keys in `reply`, which are overwritten when it fails.
   */
  adopt(reply: BootstrapReply, fill: (next: Store, previous: Store) => Promise<void>): Promise<void>
  /** A generation to fill while the services go on. Rejects with CORE_SEALED, and on a standby with CORE_STANDBY. */
  stage(): Promise<StagedGeneration>
  /**
   * Puts what was staged in the place of everything stored, after `finish` has made it ready with nothing writing any more. With
   * `keepKeys` the node goes on with the keys it holds; else it seals itself, and needs those of what was restored. When it rejects
   * nothing was changed, or the storage cannot be opened.
   */
  restore(staged: StagedGeneration, how: RestoreHow): Promise<void>
  /** Resolves when the transitions begun so far are over. */
  settled(): Promise<void>
  /** Undefined while sealed. On a standby it can read. */
  unsealed(): Unsealed | undefined
  handle(request: CoreRequest): Promise<CoreResponse>
  close(): Promise<void>
}

export interface RestoreHow {
  keepKeys: boolean
  finish(current: ClusterStore['logged']): Promise<void>
}
