export type { Clock, CoreErrorCode, CoreRequest, CoreResponse, Log } from './contracts.ts'
export { CoreError } from './contracts.ts'
export {
  type Core,
  type CoreComponents,
  type CoreOptions,
  createCore,
  type HealthState,
  type OperatorCaller,
} from './core.ts'
export type { ServeForwarded } from './ha/cluster-node.ts'
export { type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from './ha/http.ts'
export { CATALOG as METRICS, type MetricName } from './metrics/catalog.ts'
export type { MetricsSnapshot, Sample as MetricSample } from './metrics/meter.ts'
export {
  type MigrationEnd,
  MigrationInterrupted,
  type MigrationOptions,
  type MigrationReport,
  migrateStorage,
  resetMigration,
} from './migration/migrate-storage.ts'
export { assertNotMigrating } from './migration/migration-lock.ts'
export type { RekeyAction } from './seal-life-cycle/rekey.ts'
export type { RekeyTarget } from './seal-life-cycle/share-backup.ts'
export type { Factories } from './services/components.ts'
