/** One generation of a cluster's storage, opened: the log over the physical store and, once unsealed, the barrier over the log. */
import { type EncryptedStoreOptions, encryptedStore, type Keyring } from '@lockstep/barrier'
import { type LoggedStore, loggedStore } from '@lockstep/replication-driver'
import { type Store, storeEngine } from '@lockstep/storage'
import { type ClassRules, classRules, vaultRules } from '@lockstep/storage-classes'
import type { Log } from '../contracts.ts'
import { measuredEngine } from '../metrics/measured-engine.ts'
import type { RoleMode } from '../replication/role-records.ts'
import { announcedWrites } from './announced-writes.ts'

/** The roles in force, read by every write. */
export interface RoleModes {
  performance: RoleMode
  dr: RoleMode
  /** The log is kept without a primary role: of a demoted primary that still writes what is local to it. Default false. */
  keepLog?: boolean
}

export interface ClusterStore {
  readonly logged: LoggedStore
  /** All of it as it lies in the storage. */
  readonly rows: Pick<Store, 'scan'>
  readonly classes: ClassRules
  readonly modes: RoleModes
  /** The encrypted view. */
  barrier(keyring: () => Keyring, options?: EncryptedStoreOptions): Store
  close(): Promise<void>
}

export interface ClusterStoreOptions {
  /** Cap of the retained write-ahead log, bytes. */
  logBytes?: number
  /** The same in records. Default: no cap. */
  logRecords?: number
  /** Age at which a record is given up, ms. Default: the driver's, 24 hours. */
  logMaxAgeMs?: number
  /** Told how long each group of commits took until it was durable, ms. */
  onWrite?(ms: number): void
  /** Ciphertext read cache, bytes. Default: the driver's. */
  cacheBytes?: number
}

export interface ClusterStoreMode {
  /** Write nothing: another node leads. It reads past caches, which the leader's writes would not reach. */
  readOnly: boolean
}

export async function openClusterStore(
  physical: Store,
  log: Log,
  options: ClusterStoreOptions & ClusterStoreMode,
): Promise<ClusterStore> {
  const classes = classRules(vaultRules)
  const modes: RoleModes = { performance: 'disabled', dr: 'disabled' }
  const engine = measuredEngine(announcedWrites(storeEngine(physical), log), (ms) => options.onWrite?.(ms))
  const logged = await loggedStore(engine, {
    classify: (key) => classes.classify(key),
    writable: ({ class: storageClass }) => {
      if (storageClass === 'ignored') return true
      if (modes.dr === 'secondary') return false
      return storageClass === 'local' || modes.performance !== 'secondary'
    },
    keepLog: () => modes.keepLog === true || modes.performance === 'primary' || modes.dr === 'primary',
    logBytes: options.logBytes,
    logRecords: options.logRecords,
    logMaxAgeMs: options.logMaxAgeMs,
    cacheBytes: options.readOnly ? 0 : options.cacheBytes,
    readOnly: options.readOnly,
    onLogPressure: (pressure) =>
      log.warn('the log kept for a lagging secondary nears its cap; past it that secondary resumes by Merkle diff', {
        ...pressure,
      }),
  })
  return {
    logged,
    rows: physical,
    classes,
    modes,
    barrier: (keyring, options) => encryptedStore(logged, keyring, options),
    close: () => logged.close(),
  }
}
