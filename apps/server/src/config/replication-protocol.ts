/**
 * `LOCKSTEP_REPLICATION_PROTOCOL`: the protocol versions this server may speak with other clusters, `1` or `1-2`. For tests of clusters of
 * different releases, and as a way back should a newer version turn out to be at fault. Of the environment, because Vault's
 * `replication {}` has nothing of the kind and both kinds of replication are always meant.
 */
import { PROTOCOL, type VersionRange } from '@lockstep/replication'
import { ConfigError } from './config-error.ts'
import type { Environment } from './environment.ts'

const NAME = 'LOCKSTEP_REPLICATION_PROTOCOL'

/** Undefined when unset or empty: all versions. */
export function readReplicationProtocol(
  environment: Environment,
  warn: (message: string) => void,
): VersionRange | undefined {
  const text = environment[NAME]
  if (text === undefined || text === '') return undefined
  const [, first, last] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(text) ?? []
  const [min, max] = [Number(first), Number(last ?? first)]
  if (first === undefined || min > max || min < PROTOCOL.min || max > PROTOCOL.max) {
    throw new ConfigError(
      `${NAME}: expected a version or a range such as "1-2", within ${PROTOCOL.min} to ${PROTOCOL.max}, not ${JSON.stringify(text)}`,
    )
  }
  warn(`${NAME} restricts replication to protocol ${min === max ? min : `${min} to ${max}`}`)
  return { min, max }
}
