/** Go-style flags (`-config=x`, `-dev`) read by node's own parser. */
import { parseArgs } from 'node:util'
import { parseLogLevel } from '../config/log-config.ts'
import type { LogLevel } from '../config/server-config.ts'

export interface ServerFlags {
  config: string[]
  dev: boolean
  devRootTokenId: string | undefined
  devListenAddress: string | undefined
  devNoStoreToken: boolean
  logLevel: string | undefined
  logFormat: string | undefined
}

export interface MigrateFlags {
  config: string
  start: string | undefined
  reset: boolean
  maxParallel: number
  logLevel: LogLevel
}

export type Command =
  | { name: 'server'; flags: ServerFlags }
  | { name: 'migrate'; flags: MigrateFlags }
  | { name: 'version' }
  | { name: 'help' }
  /** `message` says what is wrong. */
  | { name: 'usage'; message: string }

/** Each holds a batch of a megabyte in memory. */
const MOST_PARALLEL = 256
const BOOLEANS = ['dev', 'dev-no-store-token', 'help', 'reset'] as const

export function parseCommand(argv: readonly string[]): Command {
  const [first, ...rest] = argv
  switch (first) {
    case undefined:
      return { name: 'usage', message: 'a command is missing' }
    case 'server':
      return parseServer(rest)
    case 'operator':
      return parseOperator(rest)
    case 'version':
    case '-version':
    case '--version':
    case '-v':
      return { name: 'version' }
    case 'help':
    case '-help':
    case '--help':
    case '-h':
      return { name: 'help' }
    default:
      return { name: 'usage', message: `unknown command ${JSON.stringify(first)}` }
  }
}

function parseServer(argv: readonly string[]): Command {
  try {
    const { values } = parseArgs({
      args: normalise(argv),
      strict: true,
      allowPositionals: false,
      options: {
        config: { type: 'string', multiple: true },
        dev: { type: 'boolean' },
        'dev-root-token-id': { type: 'string' },
        'dev-listen-address': { type: 'string' },
        'dev-no-store-token': { type: 'boolean' },
        'log-level': { type: 'string' },
        'log-format': { type: 'string' },
        help: { type: 'boolean' },
      },
    })
    if (values.help) return { name: 'help' }
    const flags: ServerFlags = {
      config: values.config ?? [],
      dev: values.dev ?? false,
      devRootTokenId: values['dev-root-token-id'],
      devListenAddress: values['dev-listen-address'],
      devNoStoreToken: values['dev-no-store-token'] ?? false,
      logLevel: values['log-level'],
      logFormat: values['log-format'],
    }
    if (flags.config.length === 0 && !flags.dev) {
      return { name: 'usage', message: 'server needs -config=FILE or -dev' }
    }
    return { name: 'server', flags }
  } catch (error) {
    return usage(error)
  }
}

function parseOperator([subcommand, ...argv]: readonly string[]): Command {
  if (subcommand === undefined) return { name: 'usage', message: 'operator needs a subcommand' }
  if (subcommand !== 'migrate') {
    return { name: 'usage', message: `unknown command ${JSON.stringify(`operator ${subcommand}`)}` }
  }
  try {
    const { values } = parseArgs({
      args: normalise(argv),
      strict: true,
      allowPositionals: false,
      options: {
        config: { type: 'string' },
        start: { type: 'string' },
        reset: { type: 'boolean' },
        'max-parallel': { type: 'string' },
        'log-level': { type: 'string' },
        help: { type: 'boolean' },
      },
    })
    if (values.help) return { name: 'help' }
    if (values.config === undefined) return { name: 'usage', message: 'operator migrate needs -config=FILE' }
    const maxParallel = Number(values['max-parallel'] ?? 10)
    if (!Number.isInteger(maxParallel) || maxParallel < 1 || maxParallel > MOST_PARALLEL) {
      return { name: 'usage', message: `-max-parallel must be a whole number from 1 to ${MOST_PARALLEL}` }
    }
    const flags: MigrateFlags = {
      config: values.config,
      start: values.start || undefined,
      reset: values.reset ?? false,
      maxParallel,
      logLevel: parseLogLevel(values['log-level'] ?? 'info', '-log-level'),
    }
    return { name: 'migrate', flags }
  } catch (error) {
    return usage(error)
  }
}

function usage(error: unknown): Command {
  // Node's message goes on with advice about `--`.
  return { name: 'usage', message: (error as Error).message.split('. ')[0]!.replaceAll('--', '-') }
}

/** One dash becomes two, and `-dev=true` the bare flag that node expects of a boolean. */
function normalise(argv: readonly string[]): string[] {
  return argv.flatMap((argument) => {
    const match = /^--?([a-z][a-z-]*)(?:=(.*))?$/s.exec(argument)
    if (match === null) return [argument]
    const [, name, value] = match
    if ((BOOLEANS as readonly string[]).includes(name!)) {
      if (value === undefined || /^(?:1|t|true)$/i.test(value)) return [`--${name}`]
      if (/^(?:0|f|false)$/i.test(value)) return []
    }
    return [value === undefined ? `--${name}` : `--${name}=${value}`]
  })
}
