/** A performance secondary has its primary carry out what it may not do itself, and waits until it sees the effects. */
import type { ForwardToPrimary } from '../../contracts.ts'
import { timedForward } from '../../metrics/link-metrics.ts'
import type { Meter } from '../../metrics/meter.ts'
import type { ReplicationKind } from '../role-records.ts'
import type { SecondaryRole } from '../secondary-role.ts'
import { forwardError } from './forward-error.ts'
import { decodeForwardedAnswer, encodeForwardedRequest, FORWARD } from './forwarded-request.ts'

export interface ForwardToPrimaryComponents {
  /** Throws CORE_INVALID_REQUEST when the cluster is none. */
  secondary(kind: ReplicationKind): Pick<SecondaryRole, 'request' | 'applied'>
  meter: Meter | undefined
}

export interface ForwardToPrimaryOptions {
  /** How long a forwarded write waits until it is visible here, ms. */
  walWaitMs: number
  /** Default 30 s. */
  forwardTimeoutMs?: number | undefined
}

const STALE =
  "Timeout hit while waiting for local replicated cluster to apply primary's write; this client may encounter stale reads of values written during this operation."

export function forwardToPrimary(
  { secondary, meter }: ForwardToPrimaryComponents,
  options: ForwardToPrimaryOptions,
): ForwardToPrimary {
  return async (request, caller, { untilApplied = true, timeoutMs = options.forwardTimeoutMs ?? 30_000 } = {}) => {
    try {
      const role = secondary('performance')
      const ask = () => role.request(FORWARD, encodeForwardedRequest(request, caller), { timeoutMs })
      const body = await timedForward(meter, ask)
      const answer = decodeForwardedAnswer(body)
      if (!untilApplied || (await role.applied(answer.place.index, options.walWaitMs))) return answer
      const { response, place } = answer
      return { response: { ...response, warnings: [...(response?.warnings ?? []), STALE] }, place }
    } catch (error) {
      throw forwardError(error)
    }
  }
}
