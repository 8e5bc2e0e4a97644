import { BootstrapError } from './errors.ts'

/** One label that is safe in a certificate name, a DNS subject alternative name, a URL segment and a storage key. */
const ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/
const MAX_SECONDARY_ID = 63
/** Keeps `<clusterId>.replication.lockstep` within the 64 characters of a common name (RFC 5280, ub-common-name). */
const MAX_CLUSTER_ID = 43

/** Letters, digits, `.`, `_`, `-`, beginning and ending with a letter or digit; at most 63. UUIDs pass. */
export function checkSecondaryId(id: string): string {
  return checkId('secondary id', id, MAX_SECONDARY_ID)
}

/** As a secondary id, at most 43 characters. */
export function checkClusterId(id: string): string {
  return checkId('cluster id', id, MAX_CLUSTER_ID)
}

function checkId(what: string, id: string, max: number): string {
  if (typeof id !== 'string' || id.length > max || !ID.test(id)) {
    throw new BootstrapError(
      'BOOTSTRAP_INVALID_ID',
      `${what} must be 1 to ${max} letters, digits, '.', '_' or '-', beginning and ending with a letter or digit`,
    )
  }
  return id
}

/**
 * The name in the certificate of the primary's cluster listener. It depends on the replication set only, so a dialer checks
 * who answers, whatever address or load balancer it dialled.
 */
export function primaryServerName(clusterId: string): string {
  return `${checkClusterId(clusterId)}.replication.lockstep`
}
