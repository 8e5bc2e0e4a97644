/** One stored record per audit device, and the device's salt beside it. */
import { jsonText } from '@lockstep/backend'

export interface DeviceRecord {
  format: 1
  uuid: string
  /** With trailing slash. */
  path: string
  type: string
  description: string
  options: Record<string, string>
  local: boolean
}

export const SHARED_FOLDER = 'core/audit/'
export const LOCAL_FOLDER = 'core/local-audit/'
const DATA_FOLDER = 'audit/'

export function recordKey({ uuid, local }: Pick<DeviceRecord, 'uuid' | 'local'>): string {
  return (local ? LOCAL_FOLDER : SHARED_FOLDER) + uuid
}

export function dataPrefix(uuid: string): string {
  return `${DATA_FOLDER}${uuid}/`
}

export function saltKey(uuid: string): string {
  return `${dataPrefix(uuid)}salt`
}

/** The device that a stored key belongs to, or undefined when it is none of ours. */
export function uuidOf(key: string): string | undefined {
  for (const folder of [SHARED_FOLDER, LOCAL_FOLDER, DATA_FOLDER]) {
    if (key.startsWith(folder)) return key.slice(folder.length).split('/', 1)[0]
  }
  return undefined
}

export function encodeDevice(record: DeviceRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

/** @throws Error when the bytes are no device record. */
export function decodeDevice(bytes: Uint8Array): DeviceRecord {
  const record = JSON.parse(jsonText(bytes)) as DeviceRecord
  if (record.format !== 1) throw new Error(`unknown audit device record format ${String(record.format)}`)
  return record
}
