import { ReplicationError } from './errors.ts'
import { PROTOCOL, type VersionRange } from './messages.ts'

/** The versions one end speaks. Throws `REPLICATION_INVALID_ARGUMENT` when asked for some this code does not have. */
export function spokenVersions(wanted: VersionRange = PROTOCOL): VersionRange {
  const { min, max } = wanted
  if (!Number.isInteger(min) || !Number.isInteger(max) || min > max || min < PROTOCOL.min || max > PROTOCOL.max) {
    throw new ReplicationError(
      'REPLICATION_INVALID_ARGUMENT',
      `protocol: a range within ${PROTOCOL.min} to ${PROTOCOL.max} is expected, not ${min} to ${max}`,
    )
  }
  return { min, max }
}
