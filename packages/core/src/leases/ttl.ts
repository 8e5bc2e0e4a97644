import { formatDuration } from '@lockstep/backend'
import { CoreError } from '../contracts.ts'

/** All durations in seconds, 0 = not given; times in milliseconds. */
export interface TtlRequest {
  /** What the client asked for. */
  increment: number
  /** What the backend, role or lease says. */
  ttl: number
  maxTtl: number
  explicitMaxTtl: number
  /** A periodic token gets exactly this at every renewal, without an end unless `explicitMaxTtl` sets one. */
  period: number
  /** The mount's effective TTLs. */
  mount: { default: number; max: number }
  issueTime: number
  now: number
}

/**
 * The lifetime to grant from `now`, and warnings where less is granted than was asked for.
 * Rejects with CORE_INVALID_REQUEST `past the max TTL, cannot renew`.
 */
export function grantedTtl(request: TtlRequest): { ttl: number; warnings: string[] } {
  const { increment, explicitMaxTtl, mount } = request
  const warnings: string[] = []
  const maxTtl = leastSet(mount.max, request.maxTtl, explicitMaxTtl)
  const periodic = request.period > 0
  let ttl = periodic ? request.period : increment > 0 ? increment : request.ttl > 0 ? request.ttl : mount.default
  if (periodic && ttl > maxTtl) {
    warnings.push(
      `period of "${formatDuration(ttl)}" exceeded the effective max_ttl of "${formatDuration(maxTtl)}"; period value is capped accordingly`,
    )
    ttl = maxTtl
  }
  const life = periodic ? explicitMaxTtl : maxTtl
  if (life === 0) return { ttl, warnings }

  const left = Math.floor(request.issueTime / 1000) + life - Math.floor(request.now / 1000)
  if (left <= 0) throw new CoreError('CORE_INVALID_REQUEST', 'past the max TTL, cannot renew')
  if (ttl > left) {
    warnings.push(
      `TTL of "${formatDuration(ttl)}" exceeded the effective max_ttl of "${formatDuration(left)}"; TTL value is capped accordingly`,
    )
    ttl = left
  }
  return { ttl, warnings }
}

function leastSet(...limits: number[]): number {
  return Math.min(...limits.filter((limit) => limit > 0))
}
