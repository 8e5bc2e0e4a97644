/**
 * What a wrapping token stands for, stored in that token's cubbyhole as `<cubbyholeId>/response`, so that it goes when the token
 * goes. It has not the form of the cubbyhole engine's own records: the only way to it is `unwrap`, which hands it out once.
 */
import { jsonText } from '@lockstep/backend'

export interface WrappedRecord {
  format: 1
  /** JSON text, returned as it is. */
  response: string
  /** Seconds. */
  creationTtl: number
  /** RFC 3339. */
  creationTime: string
  creationPath: string
  wrappedAccessor?: string
}

export function wrappedRecordKey(cubbyholePrefix: string, cubbyholeId: string): string {
  return `${cubbyholePrefix}${cubbyholeId}/response`
}

export function encodeWrapped(record: WrappedRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

/** undefined when the bytes are something else. */
export function decodeWrapped(bytes: Uint8Array): WrappedRecord | undefined {
  try {
    const record = JSON.parse(jsonText(bytes)) as WrappedRecord
    return record.format === 1 ? record : undefined
  } catch {
    return undefined
  }
}
