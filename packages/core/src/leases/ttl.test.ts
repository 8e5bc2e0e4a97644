import { describe, expect, it } from 'vitest'
import { grantedTtl, type TtlRequest } from './ttl.ts'

const hour = 3600
const grant = (more: Partial<TtlRequest>) => {
  try {
    return grantedTtl({
      increment: 0,
      ttl: 0,
      maxTtl: 0,
      explicitMaxTtl: 0,
      period: 0,
      mount: { default: 768 * hour, max: 768 * hour },
      issueTime: 1_000_000,
      now: 1_000_000,
      ...more,
    })
  } catch (error) {
    return (error as Error).message
  }
}
const capped = (ttl: string, max: string) =>
  `TTL of "${ttl}" exceeded the effective max_ttl of "${max}"; TTL value is capped accordingly`

describe('grantedTtl', () => {
  it.each<[string, Partial<TtlRequest>, number | string, string?]>([
    ['the mount default', {}, 768 * hour],
    ['the backend before the mount', { ttl: hour }, hour],
    ['the increment before the backend', { ttl: hour, increment: 60 }, 60],
    ['at most the mount maximum', { increment: 9999 * hour }, 768 * hour, capped('9999h0m0s', '768h0m0s')],
    ['at most the backend maximum', { ttl: 3 * hour, maxTtl: 2 * hour }, 2 * hour, capped('3h0m0s', '2h0m0s')],
    ['at most the explicit maximum', { ttl: 3 * hour, explicitMaxTtl: hour }, hour, capped('3h0m0s', '1h0m0s')],
    ['the least of the maxima', { ttl: 3 * hour, maxTtl: 2 * hour, explicitMaxTtl: 90 }, 90, capped('3h0m0s', '1m30s')],
    [
      'what is left since it was issued',
      { ttl: hour, maxTtl: hour, now: 1_000_000 + 1_800_000 },
      1800,
      capped('1h0m0s', '30m0s'),
    ],
    ['nothing past the maximum', { maxTtl: hour, now: 1_000_000 + 3_600_000 }, 'past the max TTL, cannot renew'],
    ['the period, whatever is asked for', { period: hour, increment: 60, ttl: 5 }, hour],
    ['the period again after any time', { period: hour, now: 1_000_000 + 9_999_000_000 }, hour],
    [
      'a period within the mount maximum',
      { period: 999 * hour },
      768 * hour,
      'period of "999h0m0s" exceeded the effective max_ttl of "768h0m0s"; period value is capped accordingly',
    ],
    [
      'a period up to the explicit maximum',
      { period: hour, explicitMaxTtl: 2 * hour, now: 1_000_000 + 5_400_000 },
      1800,
      capped('1h0m0s', '30m0s'),
    ],
    [
      'no period past the explicit maximum',
      { period: hour, explicitMaxTtl: 2 * hour, now: 1_000_000 + 7_200_000 },
      'past the max TTL, cannot renew',
    ],
  ])('gives %s', (_, request, ttl, warning) => {
    expect(grant(request)).toEqual(typeof ttl === 'string' ? ttl : { ttl, warnings: warning ? [warning] : [] })
  })
})
