/** Saving and restoring of a running cluster, one of each at a time. */
import { tmpdir } from 'node:os'
import type { Readable } from 'node:stream'
import type { AutoSeal } from '@lockstep/seal'
import type { ClusterIdentity } from '../cluster-identity.ts'
import { type Clock, type Conclusion, CoreError, type Log } from '../contracts.ts'
import { roleRecords } from '../replication/role-records.ts'
import type { LifeCycle } from '../seal-life-cycle/life-cycle-contract.ts'
import type { Unsealed } from '../seal-life-cycle/services.ts'
import { stageSnapshot } from './restore.ts'
import { takeSnapshot } from './save.ts'
import { SnapshotError } from './snapshot-error.ts'
import { sumsSeal } from './sums-seal.ts'

export interface SnapshotsComponents {
  unsealed: Unsealed
  lifeCycle: Pick<LifeCycle, 'sealConfig' | 'stage' | 'restore'>
  autoSeal: AutoSeal | undefined
  identity(): Promise<ClusterIdentity | undefined>
  clock: Clock
  log: Log
}

export interface SnapshotsOptions {
  /** Where a snapshot is kept while it is sent. Default: the system's directory for temporary files. */
  snapshotDirectory?: string | undefined
  /** Most bytes of a snapshot before compression. Default 64 GiB. */
  maxSnapshotBytes?: number | undefined
}

export interface Snapshots {
  /** An archive to be read to its end or destroyed. Rejects with CORE_UNAVAILABLE while another one is under way. */
  save(): Promise<Readable>
  /**
   * Reads and checks a snapshot; nothing has changed when it rejects. What it resolves with makes it current, which needs the requests
   * under way to be over.
   */
  restore(body: AsyncIterable<Uint8Array>, options: { force: boolean }): Promise<Conclusion>
}

const DEFAULT_MAX_BYTES = 64 * 1024 ** 3

export function snapshots(components: SnapshotsComponents, options: SnapshotsOptions): Snapshots {
  const { unsealed, lifeCycle, autoSeal, clock, log } = components
  const { snapshotDirectory: directory = tmpdir(), maxSnapshotBytes: maxBytes = DEFAULT_MAX_BYTES } = options
  let saving = false
  let restoring = false

  async function facts() {
    const sealType = (await lifeCycle.sealConfig())?.type ?? 'shamir'
    const seal = sumsSeal({
      autoSeal: sealType === 'shamir' ? undefined : autoSeal,
      operatorKey: () => unsealed.operatorKey(),
    })
    const { id: clusterId, name: clusterName } = (await components.identity())!
    return { seal, sealType, clusterId, clusterName }
  }

  return {
    async save() {
      if (saving) throw busy('another snapshot is being taken')
      saving = true
      try {
        const { seal, ...cluster } = await facts()
        const rows = unsealed.store.rows
        const archive = await takeSnapshot({ rows, seal, clock }, { ...cluster, directory, maxBytes })
        archive.on('close', () => {
          saving = false
        })
        log.info('a snapshot is taken')
        return archive
      } catch (error) {
        saving = false
        throw error
      }
    },

    async restore(body, { force }) {
      if (restoring) throw busy('another snapshot is being restored')
      restoring = true
      const staged = await lifeCycle.stage().catch((error: unknown) => {
        restoring = false
        throw error
      })
      const discard = async (): Promise<void> => {
        restoring = false
        await staged.discard()
      }
      try {
        const { seal, sealType, clusterId } = await facts()
        const roles = roleRecords(unsealed.barrier)
        const keyring = unsealed.keyring
        const parts = { target: staged.store, seal, clusterId, sealType, keyring, roles, clock }
        const snapshot = await stageSnapshot(parts, body, { force, maxBytes })
        const { clusterId: of, takenAt } = snapshot.meta
        const told = { cluster_id: of, taken_at: new Date(takenAt).toISOString(), force }
        return {
          discard,
          async run() {
            try {
              await lifeCycle.restore(staged, { keepKeys: snapshot.sameKeys, finish: snapshot.finish })
              log.warn('a snapshot was restored', told)
            } catch (error) {
              await discard()
              throw error
            } finally {
              restoring = false
            }
          },
        }
      } catch (error) {
        await discard()
        if (error instanceof SnapshotError) {
          log.warn('a snapshot was refused, nothing was changed', { reason: error.message })
          throw new CoreError('CORE_INVALID_REQUEST', error.message, { cause: error })
        }
        throw error
      }
    },
  }
}

function busy(message: string): CoreError {
  return new CoreError('CORE_UNAVAILABLE', `${message}, try again later`)
}
