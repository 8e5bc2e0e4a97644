/** `2026-11-23T12:00:00.000Z [INFO]  core: message: key=value`, one line per record. */
import type { DestinationStream } from 'pino'

const LABELS: Record<string, string> = {
  trace: '[TRACE]',
  debug: '[DEBUG]',
  info: '[INFO] ',
  warn: '[WARN] ',
  error: '[ERROR]',
  fatal: '[ERROR]',
}

export function standardLines(out: DestinationStream): DestinationStream {
  return { write: (line) => out.write(`${formatRecord(JSON.parse(line) as Record<string, unknown>)}\n`) }
}

export function formatRecord(record: Record<string, unknown>): string {
  const {
    '@timestamp': time,
    '@level': level,
    '@module': module,
    '@message': message,
    ...fields
  } = record as Record<string, string>
  const head = `${time} ${LABELS[level ?? ''] ?? '[INFO] '} ${module}: ${oneLine(message ?? '')}`
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${fieldText(value)}`)
  return rest.length === 0 ? head : `${head}: ${rest.join(' ')}`
}

function fieldText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}

/** A line break in a message would let its author forge the next record. */
function oneLine(text: string): string {
  return /[\p{Cc}\u2028\u2029]/u.test(text) ? JSON.stringify(text).slice(1, -1) : text
}
