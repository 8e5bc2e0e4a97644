/** Keeps a token of limited life alive, in the background. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SealLog } from './transit-seal.ts'
import type { VaultConnection } from './vault-connection.ts'

export interface RenewalOptions {
  /** After a failure, ms; doubled each time up to `longestMs`. */
  retryMs: number
  longestMs: number
}

/** What is left when it is renewed, as a share of its life: two more tries fit in. */
const RENEW_AT = 2 / 3
const SHORTEST_MS = 500
const MAX_SLEEP_MS = 2 ** 31 - 1

/** Until `signal` is aborted, or the token needs no renewal. Never rejects. */
export async function keepTokenAlive(
  connection: VaultConnection,
  log: SealLog,
  signal: AbortSignal,
  { retryMs, longestMs }: RenewalOptions,
): Promise<void> {
  let wait = retryMs
  let granted: number | undefined
  while (!signal.aborted) {
    const outcome = await renew(connection).catch((error: unknown) => ({ failed: (error as Error).message }))
    if (signal.aborted) return
    if ('failed' in outcome) {
      log.warn('the token of the transit seal was not renewed, trying again', {
        reason: outcome.failed,
        retry_ms: wait,
      })
      await pause(wait, signal)
      wait = Math.min(wait * 2, longestMs)
      continue
    }
    wait = retryMs
    const { ttl, renewable } = outcome
    if (ttl === undefined) return
    if (granted !== undefined && ttl < granted / 2) {
      log.warn('the token of the transit seal nears the end of its life: replace it', { expires_in_seconds: ttl })
    }
    granted ??= ttl
    if (!renewable) {
      const fields = { expires_in_seconds: ttl }
      return log.warn('the token of the transit seal cannot be renewed: replace it before it expires', fields)
    }
    await pause(Math.max(ttl * 1000 * RENEW_AT, SHORTEST_MS), signal)
  }
}

/** `ttl`: seconds from now, undefined for a token that does not expire. */
async function renew(connection: VaultConnection): Promise<{ ttl: number | undefined; renewable: boolean }> {
  const looked = await connection.call('GET', 'auth/token/lookup-self')
  const data =
    looked.status === 200 ? (looked.body.data as { ttl?: unknown; renewable?: unknown } | undefined) : undefined
  // A token may be allowed to renew itself and not to look.
  if (data !== undefined && data.ttl === 0) return { ttl: undefined, renewable: false }
  if (data !== undefined && data.renewable === false) return { ttl: seconds(data.ttl), renewable: false }
  const renewed = await connection.call('PUT', 'auth/token/renew-self', {})
  const auth = renewed.body.auth as { lease_duration?: unknown; renewable?: unknown } | null | undefined
  if (renewed.status !== 200 || !auth) throw new Error(`renew-self answered with status ${renewed.status}`)
  const ttl = seconds(auth.lease_duration)
  if (ttl === 0) throw new Error('its maximum TTL is reached')
  return { ttl, renewable: auth.renewable === true }
}

function seconds(value: unknown): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  throw new Error('the time left to the token is missing in the answer')
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(Math.min(ms, MAX_SLEEP_MS), undefined, { signal, ref: false }).catch(() => {})
}
