/**
 * Keeps the shares of a secondary those of its primary, however often that is rekeyed and whenever the secondary's seal can be asked.
 * Elsewhere it sees to it that secondaries are told of the key in force.
 */
import type { Log } from '../contracts.ts'
import { retrying } from './retrying.ts'
import type { Unsealed } from './services.ts'

const RETRY_MS = 1_000
const LONGEST_MS = 60_000

export interface OperatorKeyFollower {
  /** Something may have come. */
  look(): void
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>
}

export function operatorKeyFollower(
  unsealed: Pick<Unsealed, 'followOperatorKey' | 'tellOperatorKey'>,
  isSecondary: () => boolean,
  log: Log,
): OperatorKeyFollower {
  let looking: AbortController | undefined
  /** One look at a time: an earlier one whose reading took longer would put the former key back in force. */
  let underWay: Promise<void> = Promise.resolve()
  const next = (): Promise<void> => (isSecondary() ? unsealed.followOperatorKey() : unsealed.tellOperatorKey())
  return {
    look() {
      looking?.abort()
      looking = retrying(
        (signal) => {
          underWay = underWay.catch(() => {}).then(() => (signal.aborted ? undefined : next()))
          return underWay
        },
        {
          startMs: 0,
          retryMs: RETRY_MS,
          longestMs: LONGEST_MS,
          onError: (error) => {
            const what = isSecondary()
              ? "taking over the primary's key shares"
              : 'comparing the key shares with those told'
            log.error(`${what} failed, trying again`, { error: String(error) })
          },
        },
      )
    },
    async stop() {
      looking?.abort()
      await underWay.catch(() => {})
    },
  }
}
