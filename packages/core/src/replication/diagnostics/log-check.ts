/** How near the log is to its caps, and who holds it back. */
import { type CheckStatus, type Found, LIMITS, ok } from './diagnostics.ts'

export interface LogFacts {
  bytes: number
  caps: { bytes: number; ageMs: number }
  head: number
  oldest: number
  /** Those for which the log is kept, slowest first. */
  consumers: readonly { consumer: string; index: number; ageMs: number }[]
}

export function logCheck({ bytes, caps, head, oldest, consumers }: LogFacts): Found {
  const shown = `${bytes} of ${caps.bytes} bytes kept, indexes ${oldest} to ${head}`
  const remedy =
    'Find out why the slowest secondary does not catch up, revoke it if it is gone, or enlarge logshipper_buffer_size. Past the cap it resumes by Merkle diff: nothing is lost.'
  const bad = (status: CheckStatus, cause: string, detail: string): Found => ({
    ...{ check: 'log', status, cause, detail: `${shown}; ${detail}`, remedy },
  })
  const lost = consumers.filter(({ index }) => index < oldest - 1)
  if (lost.length > 0) {
    return bad('warning', 'cap_passed', `no longer back to ${lost.map(({ consumer }) => consumer).join(', ')}`)
  }
  const [slowest] = consumers
  const share = bytes / caps.bytes
  if (share >= LIMITS.logWarning) {
    const held =
      slowest === undefined ? 'nobody is known to need it' : `held back by ${slowest.consumer} at ${slowest.index}`
    return bad(share < LIMITS.logCritical ? 'warning' : 'critical', 'cap_near', held)
  }
  const aged = slowest === undefined ? 0 : slowest.ageMs / caps.ageMs
  if (aged >= LIMITS.logWarning) {
    const detail = `${slowest!.consumer} has missed everything for ${slowest!.ageMs} of ${caps.ageMs} ms`
    return bad(aged < LIMITS.logCritical ? 'warning' : 'critical', 'age_near', detail)
  }
  return ok('log', shown)
}
