/** The server's log: pino underneath, in the two formats that Vault's `log_format` knows. */
import type { Log } from '@lockstep/core'
import { type DestinationStream, destination, pino } from 'pino'
import type { LogFormat, LogLevel } from '../config/server-config.ts'
import { redactFields, redactText } from './redaction.ts'
import { standardLines } from './standard-format.ts'

export interface ServerLog extends Log {
  /** The same log under a module name, as in `core: message`. */
  named(module: string): Log
  level: LogLevel
}

export interface LogOptions {
  level: LogLevel
  format: LogFormat
  /** Default: standard error, written at once, so that nothing is lost in a crash. */
  stream?: DestinationStream
}

export function serverLog({ level, format, stream }: LogOptions): ServerLog {
  const out = stream ?? destination({ dest: 2, sync: true })
  const logger = pino(
    {
      level,
      base: null,
      messageKey: '@message',
      timestamp: () => `,"@timestamp":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ '@level': label }) },
    },
    format === 'json' ? out : standardLines(out),
  )
  const at = (module: string): Log => {
    const write =
      (kind: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields?: Record<string, unknown>) => {
        if (!logger.isLevelEnabled(kind)) return
        logger[kind]({ '@module': module, ...(fields && redactFields(fields)) }, redactText(message))
      }
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  }
  return {
    ...at('server'),
    named: at,
    get level() {
      return logger.level as LogLevel
    },
    set level(next: LogLevel) {
      logger.level = next
    },
  }
}
