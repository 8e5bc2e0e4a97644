/**
 * The one route by which modules learn of keys that replication changed. A changed keyring goes first: what else came with it may be
 * sealed under its new term. A module that fails to drop what it caches must not go on serving it silently, so the failure is
 * logged with the key's name, the others are still told, and the key is told of again when the next keyring has come.
 */
import type { LoggedStore } from '@lockstep/replication-driver'
import type { Log } from '../contracts.ts'
import { sealKeys } from '../seal-life-cycle/seal-config.ts'

/** `rest` is the key behind what the pattern matched. */
export type InvalidationRoute = readonly [pattern: RegExp, tell: (key: string, rest: string) => Promise<void> | void]

/** Keys remembered to be told of again. A keyring comes within the same sync, so more than this is not expected. */
const MAX_FAILED = 10_000

export interface Invalidation {
  /** Resolves when the modules have followed every change so far; undefined when they have. */
  settled(): Promise<void> | undefined
  end(): void
}

export function invalidation(
  store: Pick<LoggedStore, 'onChanged'>,
  log: Log,
  reloadKeyring: () => Promise<void>,
  routes: readonly InvalidationRoute[],
): Invalidation {
  const failedKeys = new Set<string>()
  let ended = false
  /** While a keyring is being read, changes wait their turn behind it. */
  let waiting: Promise<void> | undefined
  /** Modules that are still at it. */
  const following = new Set<Promise<void>>()

  const failed = (key: string, error: unknown): void => {
    if (failedKeys.size < MAX_FAILED) failedKeys.add(key)
    log.error('a module could not follow a replicated change', {
      key,
      error: error instanceof Error ? error.message : 'unknown',
    })
  }

  function tell(key: string): void {
    for (const [pattern, tellModule] of routes) {
      const match = pattern.exec(key)
      if (match === null) continue
      try {
        const done = tellModule(key, key.slice(match[0].length))
        if (done === undefined) return
        const pending = done.catch((error: unknown) => failed(key, error)).finally(() => following.delete(pending))
        following.add(pending)
      } catch (error) {
        failed(key, error)
      }
      return
    }
  }

  async function reload(): Promise<void> {
    try {
      await reloadKeyring()
      const again = [...failedKeys]
      failedKeys.clear()
      if (!ended) for (const key of again) tell(key)
    } catch (error) {
      failed(sealKeys.keyring, error)
    }
  }

  function inTurn(body: () => Promise<void>): void {
    const turn: Promise<void> = (waiting ?? Promise.resolve()).then(body).then(() => {
      if (waiting === turn) waiting = undefined
    })
    waiting = turn
  }

  const unsubscribe = store.onChanged((keys, source) => {
    if (source === 'own') return
    if (keys.includes(sealKeys.keyring)) inTurn(reload)
    const tellAll = (): void => {
      if (!ended) for (const key of keys) tell(key)
    }
    if (waiting === undefined) tellAll()
    else inTurn(async () => tellAll())
  })
  async function settle(): Promise<void> {
    while (waiting !== undefined || following.size > 0) await Promise.all([waiting, ...following])
  }

  return {
    settled: () => (waiting === undefined && following.size === 0 ? undefined : settle()),
    end() {
      ended = true
      unsubscribe()
    },
  }
}
