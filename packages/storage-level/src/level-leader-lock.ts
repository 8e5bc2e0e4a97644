import { type Engine, type LeaderLock, memoryLeaderLock, type Store } from '@lockstep/storage'
import type { LevelEngine } from './level-engine.ts'

const engines = new WeakMap<object, LevelEngine>()
const locks = new WeakMap<LevelEngine, LeaderLock>()

export function registerEngine(opened: Store | Engine, engine: LevelEngine): void {
  engines.set(opened, engine)
}

/**
 * The leader lock of a data directory, from the store or engine that has it open. LevelDB lets one process open a
 * directory, so that process leads; inside it the lock is held by one caller at a time. Tokens grow across restarts.
 */
export function levelLeaderLock(opened: Store | LevelEngine): LeaderLock {
  const engine = engines.get(opened)
  if (engine === undefined) throw new TypeError('expected what levelStore or levelEngine resolved to')
  let lock = locks.get(engine)
  if (lock === undefined) {
    lock = memoryLeaderLock({ nextToken: () => engine.nextFencingToken() })
    locks.set(engine, lock)
  }
  return lock
}
