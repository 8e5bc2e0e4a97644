/** Remembers how the primary's guards compared, and when a diff is due for it. */
import type { Cursor } from '../types.ts'

/** After the first guard that fails comes a diff at once; if that did not help, the next ones are spaced out. */
const FIRST_RETRY_MS = 1000
const MAX_RETRY_MS = 60_000

export interface GuardWatch {
  /** Newest cursor at which both ends were equal. */
  readonly verified: Cursor | null
  /** Guards in a row that differed, those not counted that came while a diff was already due. */
  readonly failures: number
  matched(cursor: Cursor): void
  /** True when a diff is due at once. */
  differed(now: number): boolean
  /** Whether a diff that was put off is due by now. */
  due(now: number): boolean
  /** A diff is on its way. */
  diffing(): void
}

export function guardWatch(): GuardWatch {
  let verified: Cursor | null = null
  let failures = 0
  let retryAt: number | undefined
  return {
    get verified() {
      return verified
    },
    get failures() {
      return failures
    },
    matched(cursor) {
      verified = cursor
      failures = 0
      retryAt = undefined
    },
    differed(now) {
      if (retryAt !== undefined) return false
      failures++
      if (failures === 1) return true
      retryAt = now + Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 2))
      return false
    },
    due: (now) => retryAt !== undefined && now >= retryAt,
    diffing() {
      retryAt = undefined
    },
  }
}
