/** One entry of a set of unreplicated writes: where it is stored within the set, and as what. */
import { CoreError } from '../../contracts.ts'

export interface KeptEntry {
  /** Record of this cluster's log; 0 when the log could not tell. */
  index: number
  /** Storage key. */
  key: string
  /** `put` and `delete` were written here; `replaced` and `deleted` is what the new primary's state did to what was here. */
  operation: 'put' | 'delete' | 'replaced' | 'deleted'
  class: 'replicated' | 'local'
  /** Id of the mount, or "core". */
  mount: string
  /** Where the mount stood; "" for the core. */
  mountPath: string
  /** Ciphertext under `key`; undefined for a deletion. */
  value: Uint8Array | undefined
}

const INDEX_DIGITS = 16

/** In the order of the log. */
export function keptKey(index: number, key: string): string {
  return `${index.toString(16).padStart(INDEX_DIGITS, '0')}/${key}`
}

export function parseKeptKey(name: string): Pick<KeptEntry, 'index' | 'key'> {
  return { index: Number.parseInt(name.slice(0, INDEX_DIGITS), 16), key: name.slice(INDEX_DIGITS + 1) }
}

/** Length of the description (u32, big-endian), the description as JSON, the ciphertext. */
export function encodeKept({ operation, class: storageClass, mount, mountPath, value }: KeptEntry): Uint8Array {
  const described = Buffer.from(JSON.stringify({ operation, class: storageClass, mount, mountPath }))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(described.byteLength)
  return Buffer.concat([length, described, value ?? new Uint8Array(0)])
}

export function decodeKept({ index, key }: Pick<KeptEntry, 'index' | 'key'>, bytes: Uint8Array): KeptEntry {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.byteLength < 4 ? Number.POSITIVE_INFINITY : view.readUInt32BE(0)
  const damaged = new CoreError('CORE_INTERNAL', 'an unreplicated write is stored damaged')
  if (4 + length > view.byteLength) throw damaged
  let described: Omit<KeptEntry, 'index' | 'key' | 'value'>
  try {
    described = JSON.parse(view.toString('utf8', 4, 4 + length))
  } catch {
    // The parser's message could quote a path.
    throw damaged
  }
  if (typeof described !== 'object' || described === null) throw damaged
  return { index, key, ...described, value: described.operation === 'delete' ? undefined : view.subarray(4 + length) }
}
