import { ConfigError } from './config-error.ts'
import type { LogFormat, LogLevel } from './server-config.ts'

const LEVELS: Record<string, LogLevel> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  notice: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  err: 'error',
}

/** `where` names the file and key, flag or variable for the message. */
export function parseLogLevel(text: string, where: string): LogLevel {
  const name = text.trim().toLowerCase()
  if (Object.hasOwn(LEVELS, name)) return LEVELS[name]!
  throw new ConfigError(`${where} must be trace, debug, info, warn or error`)
}

export function parseLogFormat(text: string, where: string): LogFormat {
  const name = text.trim().toLowerCase()
  if (name === 'json' || name === 'standard') return name
  throw new ConfigError(`${where} must be standard or json`)
}
