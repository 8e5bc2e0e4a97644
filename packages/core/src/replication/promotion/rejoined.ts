/** A former primary tells the cluster promoted in its place that it has taken over its state and leads no longer. */
import type { Plain } from '@lockstep/replication'
import { CoreError } from '../../contracts.ts'

export const REJOINED = 'rejoined'

export function encodeRejoined(ledEpoch: number): Plain {
  return { ledEpoch }
}

/** The epoch in which it led. Rejects with CORE_INVALID_REQUEST. */
export function parseRejoined(body: unknown): number {
  const { ledEpoch } = (body ?? {}) as Record<string, unknown>
  if (typeof ledEpoch !== 'number' || !Number.isSafeInteger(ledEpoch) || ledEpoch < 0) {
    throw new CoreError('CORE_INVALID_REQUEST', 'rejoined: ledEpoch: expected a whole number')
  }
  return ledEpoch
}
