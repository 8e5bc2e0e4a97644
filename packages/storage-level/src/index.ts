export type { LevelEngine } from './level-engine.ts'
export { levelLeaderLock } from './level-leader-lock.ts'
export type { LevelOptions } from './level-store.ts'
export { levelEngine, levelStore } from './level-store.ts'
