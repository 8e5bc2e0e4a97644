/** How this cluster's storage takes the probing writes. */
import { type CheckStatus, type Found, LIMITS, ok } from './diagnostics.ts'

export interface StorageFacts {
  writtenAt: number
  writeMs: number
  waitingSince: number
  error: string
}

export function storageCheck(facts: StorageFacts | undefined, now: number): Found {
  if (facts === undefined) return ok('storage', 'not probed: no replication role is on')
  const bad = (status: CheckStatus, cause: string, detail: string): Found => ({
    ...{ check: 'storage', status, cause, detail },
    remedy: 'Check the storage: free space, latency of fsync, its own log; on a network storage the way to it.',
  })
  if (facts.error !== '') return bad('critical', 'refused', `the storage refused a probing write: ${facts.error}`)
  const waiting = facts.waitingSince === 0 ? 0 : now - facts.waitingSince
  const age = Math.max(waiting, facts.writtenAt === 0 ? 0 : now - facts.writtenAt)
  if (age >= LIMITS.canaryWarning) {
    const text =
      waiting > 0 ? `a probing write has been waiting for ${waiting} ms` : `the last probing write was ${age} ms ago`
    return bad(age < LIMITS.canaryCritical ? 'warning' : 'critical', 'stalled', text)
  }
  if (facts.writeMs >= LIMITS.slowWrite) {
    const status = facts.writeMs < LIMITS.verySlowWrite ? 'warning' : 'critical'
    return bad(status, 'slow', `the last probing write took ${facts.writeMs} ms`)
  }
  if (facts.writtenAt === 0) return ok('storage', 'the first probing write is not done yet')
  return ok('storage', `the last probing write took ${facts.writeMs} ms`)
}
