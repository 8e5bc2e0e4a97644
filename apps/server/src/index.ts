export { run } from './cli/run.ts'
export type { Surroundings } from './cli/server-command.ts'
export { ConfigError } from './config/config-error.ts'
export type { LoadedConfig } from './config/load-config.ts'
export { loadConfig } from './config/load-config.ts'
export type {
  ListenerConfig,
  LogFormat,
  LogLevel,
  ReplicationConfig,
  ServerConfig,
  StaticSealConfig,
  StorageConfig,
  TlsConfig,
} from './config/server-config.ts'
export type { HttpApp, HttpOptions } from './http/app.ts'
export { httpApp } from './http/app.ts'
export type { GenerateRootAction, GenerateRootKind, HealthState, ServerCore } from './http/server-core.ts'
export type { LogOptions, ServerLog } from './logging/server-log.ts'
export { serverLog } from './logging/server-log.ts'
export type { BuildCore, RunningServer } from './start-server.ts'
export { startServer } from './start-server.ts'
export { StartupError } from './startup-error.ts'
export { LOCKSTEP_VERSION, VAULT_VERSION } from './version.ts'
