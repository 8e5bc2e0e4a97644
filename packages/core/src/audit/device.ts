/** One running audit device: formats for its options and salt, and writes to its file. */
import type { Writable } from 'node:stream'
import { stringifyJson } from '@lockstep/backend'
import type { AuditRecord } from '../contracts.ts'
import { type ClearFields, entryFormat } from './audit-entry.ts'
import { type DeviceOptions, deviceOptions } from './device-options.ts'
import type { DeviceRecord } from './device-record.ts'
import { fileSink, openFileSink } from './file-sink.ts'
import { discardSink, type LineSink, streamSink } from './line-sink.ts'
import { redaction } from './redaction.ts'

export interface Device {
  readonly record: DeviceRecord
  write(record: AuditRecord): Promise<void>
  hash(input: string): string
  reopen(): Promise<void>
  close(): Promise<void>
}

export function runningDevice(record: DeviceRecord, salt: Uint8Array, sink: LineSink, clear: ClearFields): Device {
  const options = deviceOptions(record.type, record.options)
  const hashes = redaction(salt)
  const entries = entryFormat(hashes, options, clear)
  return {
    record,
    // Async, so that a record that cannot be formatted fails its request like one that cannot be written.
    write: async (entry) => sink.write(`${options.prefix}${stringifyJson(entries.format(entry))}\n`),
    hash: hashes.hash,
    reopen: () => sink.reopen(),
    close: () => sink.close(),
  }
}

/** Stands for a device that is configured but cannot run: it accepts nothing, so requests are not let through unaudited. */
export function brokenDevice(record: DeviceRecord, cause: unknown): Device {
  const fail = (): never => {
    throw new Error('the audit device did not start', { cause })
  }
  return { record, write: async () => fail(), hash: fail, reopen: async () => {}, close: async () => {} }
}

/** `now`: open the file at once and reject when that fails; otherwise the first write opens it. */
export async function deviceSink(options: DeviceOptions, stdout: Writable, when: 'now' | 'later'): Promise<LineSink> {
  const { filePath, mode } = options
  if (filePath === 'stdout') return streamSink(stdout)
  if (filePath === 'discard') return discardSink
  return when === 'now' ? openFileSink(filePath, mode) : fileSink(filePath, mode)
}
