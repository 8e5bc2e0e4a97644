/**
 * What a restore leaves for the first start on what was restored. Not under the barrier: whoever forces a snapshot of another cluster
 * has not its keys yet. It tells no secret, and who could forge it could do worse to the storage.
 */
import type { Keyring } from '@lockstep/barrier'
import type { LoggedStore } from '@lockstep/replication-driver'
import type { Store } from '@lockstep/storage'
import type { Log } from '../contracts.ts'
import { saveLeaseHold } from '../leases/lease-hold.ts'

export interface RestoredRecord {
  /** ms since the epoch. */
  at: number
  takenAt: number
  /** Encryptions under each term as the cluster had counted them: the snapshot does not know of the latest. */
  encryptions: { term: number; encryptions: number }[]
}

export const RESTORED = 'core/cluster/local/restored'

export function encodeRestored(record: RestoredRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

export interface AfterRestoreComponents {
  logged: Pick<LoggedStore, 'get' | 'delete'>
  barrier: Pick<Store, 'put'>
  keyring(): Keyring
  log: Log
}

/** Before leases are loaded: what expired since the snapshot may have been renewed since, and is not revoked until an operator says so. */
export async function afterRestore({ logged, barrier, keyring, log }: AfterRestoreComponents): Promise<void> {
  const stored = await logged.get(RESTORED)
  if (stored === undefined) return
  const { at, takenAt, encryptions } = decode(stored)
  const taken = new Date(takenAt).toISOString()
  log.warn('this storage was restored from a snapshot', { taken_at: taken })
  const ring = keyring()
  for (const { term, encryptions: now } of ring.terms()) {
    const counted = encryptions.find((count) => count.term === term)?.encryptions ?? 0
    if (counted > now) ring.countEncryptions(term, counted - now)
  }
  await saveLeaseHold(barrier, { since: at, reason: `restored from a snapshot taken at ${taken}`, supersedes: 0 })
  await logged.delete(RESTORED)
}

function decode(stored: Uint8Array): RestoredRecord {
  const whole = (value: unknown): number =>
    Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : 0
  let parsed: Record<string, unknown> = {}
  try {
    const value: unknown = JSON.parse(Buffer.from(stored).toString())
    if (typeof value === 'object' && value !== null) parsed = value as Record<string, unknown>
  } catch {
    // That there is a record is what counts.
  }
  const counts = Array.isArray(parsed.encryptions) ? parsed.encryptions : []
  return {
    ...{ at: whole(parsed.at), takenAt: whole(parsed.takenAt) },
    encryptions: counts.map((count) => ({ term: whole(count?.term), encryptions: whole(count?.encryptions) })),
  }
}
