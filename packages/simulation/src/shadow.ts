/**
 * What a cluster's disk holds durably, and held at each index of its log: followed batch by batch as they become durable, without
 * any help of the code under test but the record codec.
 */
import { decodePosition, decodeRecord, type LinkKind, type Position } from '@lockstep/replication'
import type { WriteOperation } from '@lockstep/storage'
import { classOf, positionKey } from './keys.ts'

export interface Version {
  index: number
  /** Undefined: deleted. */
  value: string | undefined
}

export interface Batch {
  keys: readonly string[]
  /** Kinds of link whose position the batch moved. */
  positions: readonly LinkKind[]
}

export interface Shadow {
  readonly index: number
  readonly epoch: number
  readonly values: ReadonlyMap<string, string>
  position(kind: LinkKind): Position | undefined
  digestAt(index: number): string | undefined
  /** Keys that were ever written while logged. */
  readonly keys: Iterable<string>
  versions(key: string): readonly Version[]
  at(key: string, index: number): string | undefined
  follow(operations: readonly WriteOperation[]): Batch
  reset(): void
}

const DATA = 'd/'
const LOG = 'w/'
const HEAD = 'h'
/** Bytes before the record in a row of the log, by the version in the head. */
const rowHeader = (version: number): number => (version === 1 ? 38 : 44)

export function shadow(): Shadow {
  let index = 0
  let epoch = 0
  let header = rowHeader(1)
  let values = new Map<string, string>()
  let positions = new Map<string, Position>()
  let digests = new Map<number, string>()
  let history = new Map<string, Version[]>()

  const self: Shadow = {
    get index() {
      return index
    },
    get epoch() {
      return epoch
    },
    get values() {
      return values
    },
    get keys() {
      return history.keys()
    },
    position: (kind) => positions.get(kind),
    digestAt: (at) => digests.get(at),
    versions: (key) => history.get(key) ?? [],
    at(key, at) {
      const versions = history.get(key) ?? []
      let value: string | undefined
      for (const version of versions) {
        if (version.index > at) break
        value = version.value
      }
      return value
    },
    follow(operations) {
      for (const operation of operations) {
        if (operation.key === HEAD && operation.type === 'put') header = rowHeader(operation.value[0]!)
      }
      const logged: { index: number; keys: Set<string> }[] = []
      const moved: LinkKind[] = []
      const changed = new Map<string, (string | undefined)[]>()
      for (const operation of operations) {
        const { key } = operation
        if (key.startsWith(DATA)) {
          const name = key.slice(DATA.length)
          if (classOf(name) === 'ignored') {
            for (const kind of ['performance', 'dr'] as const) {
              if (name !== positionKey(kind)) continue
              if (operation.type === 'put') positions.set(kind, decodePosition(operation.value))
              else positions.delete(kind)
              moved.push(kind)
            }
            continue
          }
          const value = operation.type === 'put' ? Buffer.from(operation.value).toString('latin1') : undefined
          const list = changed.get(name)
          if (list) list.push(value)
          else changed.set(name, [value])
        } else if (operation.type !== 'put') {
        } else if (key.startsWith(LOG)) {
          const record = decodeRecord(operation.value.subarray(header))
          logged.push({ index: record.index, keys: new Set(record.operations.map((each) => each.key)) })
          digests.set(record.index, hex(operation.value.subarray(0, 32)))
        } else if (key === HEAD) {
          const head = Buffer.from(operation.value)
          epoch = head.readUIntBE(1, 6)
          index = head.readUIntBE(7, 6)
          digests.set(index, hex(head.subarray(31, 63)))
        }
      }
      for (const [key, written] of changed) {
        // What changes nothing is not logged.
        let present = values.get(key)
        const list = written.filter((value) => {
          const news = value !== present
          present = value
          return news
        })
        const records = logged.filter(({ keys }) => keys.has(key))
        const versions = history.get(key) ?? []
        history.set(key, versions)
        for (const [n, value] of list.entries()) {
          versions.push({ index: records.length === list.length ? records[n]!.index : index, value })
        }
        const last = written.at(-1)
        if (last === undefined) values.delete(key)
        else values.set(key, last)
      }
      return { keys: [...changed.keys()], positions: moved }
    },
    reset() {
      index = 0
      epoch = 0
      values = new Map()
      positions = new Map()
      digests = new Map()
      history = new Map()
    },
  }
  return self
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}
