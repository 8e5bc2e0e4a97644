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
export type { Factories } from './services/components.ts'
