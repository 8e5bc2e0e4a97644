/** A device's options as Vault's API takes them: strings, checked once. */
import { CoreError } from '../contracts.ts'

export interface DeviceOptions {
  /** A file, or `stdout` or `discard`. */
  filePath: string
  /** Permissions of the file; 0 = leave them as they are. Default 0600. */
  mode: number
  /** Write values as they are. Default false. */
  logRaw: boolean
  /** Default true. */
  hmacAccessor: boolean
  /** Show how many names a list response had in place of the names. Default false. */
  elideListResponses: boolean
  /** Put before every line. Default "". */
  prefix: string
}

/** @throws CoreError CORE_INVALID_REQUEST */
export function deviceOptions(type: string, options: Readonly<Record<string, string>>): DeviceOptions {
  if (type !== 'file') throw invalid(`unknown backend type: ${JSON.stringify(type)}`)
  const format = options.format ?? 'json'
  if (format !== 'json') throw invalid(`unknown format type ${JSON.stringify(format)}`)
  const filePath = (options.file_path ?? options.path ?? '').trim()
  if (filePath === '') throw invalid('file_path is required')
  const prefix = options.prefix ?? ''
  // A line break would let an option write lines of its own.
  if (prefix.length > 256 || /\p{Cc}/u.test(prefix)) throw invalid('prefix must be one short line')
  return {
    filePath:
      filePath.toLowerCase() === 'stdout' || filePath.toLowerCase() === 'discard' ? filePath.toLowerCase() : filePath,
    mode: fileMode(options.mode),
    logRaw: flag(options, 'log_raw', false),
    hmacAccessor: flag(options, 'hmac_accessor', true),
    elideListResponses: flag(options, 'elide_list_responses', false),
    prefix,
  }
}

function fileMode(text: string | undefined): number {
  if (text === undefined || text === '') return 0o600
  if (!/^[0-7]{1,4}$/.test(text)) throw invalid('mode must be octal, for instance 0600')
  const mode = Number.parseInt(text, 8)
  // Whoever may enable a device must not be able to make a program of it.
  if ((mode & 0o7111) !== 0) throw invalid('mode must not make the file executable')
  return mode
}

/** The spellings Go's strconv.ParseBool knows, which Vault's clients send. */
function flag(options: Readonly<Record<string, string>>, name: string, fallback: boolean): boolean {
  const text = options[name]
  if (text === undefined || text === '') return fallback
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false
  throw invalid(`${name} must be true or false`)
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}
