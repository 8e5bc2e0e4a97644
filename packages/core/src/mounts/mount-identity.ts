import type { Table } from './mount-path.ts'

/** `length` unpredictable bytes. */
export type Random = (length: number) => Uint8Array

/** A version 4 UUID. */
export function newUuid(random: Random): string {
  const bytes = Buffer.from(random(16))
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** `kv_1a2b3c4d`, `auth_userpass_1a2b3c4d`. */
export function newAccessor(table: Table, type: string, random: Random): string {
  return `${table === 'auth' ? 'auth_' : ''}${type}_${Buffer.from(random(4)).toString('hex')}`
}
