/** The messages of etcd's v3 API that this package uses, as etcd's rpc.proto and kv.proto number their fields. */
import { fieldsOf, safeInteger, WireError } from './wire-reader.ts'
import { WireWriter } from './wire-writer.ts'

export interface KeyValue {
  readonly key: Buffer
  readonly createRevision: number
  readonly modRevision: number
  readonly value: Buffer
  readonly lease: bigint
}

export interface RangeRequest {
  readonly key: Buffer
  /** Exclusive. Default: this key only. */
  readonly end?: Buffer
  readonly limit?: number
  /** Default: the newest. */
  readonly revision?: number
  readonly keysOnly?: boolean
}

export interface RangeResponse {
  readonly revision: number
  readonly entries: readonly KeyValue[]
  /** There are more than the limit. */
  readonly more: boolean
}

/** With `end`: holds when it holds for every key of the range, and for none. An absent key has all revisions and leases 0. */
export interface Compare {
  readonly key: Buffer
  readonly end?: Buffer
  readonly result: 'equal' | 'less'
  readonly target: 'create' | 'modify' | 'lease'
  readonly value: number | bigint
}

export type TxnOperation =
  /** The value is what the parts make together. */
  | { type: 'put'; key: Buffer; parts: readonly Uint8Array[]; lease?: bigint }
  | { type: 'delete'; key: Buffer; end?: Buffer }
  | { type: 'range'; range: RangeRequest }
  /** Without comparisons: carried out with the rest. */
  | { type: 'nested'; operations: readonly TxnOperation[] }

export interface TxnRequest {
  readonly compare: readonly Compare[]
  readonly success: readonly TxnOperation[]
  readonly failure: readonly TxnOperation[]
}

export interface TxnResponse {
  readonly revision: number
  readonly succeeded: boolean
  /** Of the branch taken: for each operation that is a range its answer, otherwise undefined. */
  readonly ranges: readonly (RangeResponse | undefined)[]
}

export interface WatchEvent {
  readonly type: 'put' | 'delete'
}

export interface WatchResponse {
  readonly canceled: boolean
  readonly events: readonly WatchEvent[]
}

const RESULTS = { equal: 0, less: 2 }
const TARGETS = { create: 1, modify: 2, lease: 4 }
const TARGET_FIELDS = { create: 5, modify: 6, lease: 8 }

// ------------------------------------------------------------- requests

export function encodeRange(request: RangeRequest): Buffer {
  const writer = new WireWriter()
  writeRange(writer, request)
  return writer.finish()
}

export function encodeTxn(request: TxnRequest, estimate?: number): Buffer {
  const writer = new WireWriter(estimate)
  writeOperations(writer, 3, request.failure)
  writeOperations(writer, 2, request.success)
  for (let i = request.compare.length - 1; i >= 0; i--) {
    writer.message(1, () => writeCompare(writer, request.compare[i]!))
  }
  return writer.finish()
}

export function encodeLeaseGrant(ttlSeconds: number): Buffer {
  const writer = new WireWriter()
  writer.integer(1, ttlSeconds)
  return writer.finish()
}

/** LeaseRevokeRequest and LeaseKeepAliveRequest look the same. */
export function encodeLeaseId(id: bigint): Buffer {
  const writer = new WireWriter()
  writer.integer(1, id)
  return writer.finish()
}

export function encodeAuthenticate(name: string, password: string): Buffer {
  const writer = new WireWriter()
  writer.bytes(2, Buffer.from(password))
  writer.bytes(1, Buffer.from(name))
  return writer.finish()
}

export function encodeWatchCreate(key: Buffer, startRevision: number): Buffer {
  const writer = new WireWriter()
  writer.message(1, () => {
    writer.integer(3, startRevision)
    writer.bytes(1, key)
  })
  return writer.finish()
}

function writeRange(writer: WireWriter, { key, end, limit = 0, revision = 0, keysOnly }: RangeRequest): void {
  writer.integer(8, keysOnly ? 1 : 0)
  writer.integer(4, revision)
  writer.integer(3, limit)
  if (end) writer.bytes(2, end)
  writer.bytes(1, key)
}

function writeCompare(writer: WireWriter, { key, end, result, target, value }: Compare): void {
  if (end) writer.bytes(64, end)
  writer.integer(TARGET_FIELDS[target], value, true)
  writer.bytes(3, key)
  writer.integer(2, TARGETS[target])
  writer.integer(1, RESULTS[result])
}

function writeOperations(writer: WireWriter, field: number, operations: readonly TxnOperation[]): void {
  for (let i = operations.length - 1; i >= 0; i--) {
    const operation = operations[i]!
    writer.message(field, () => writeOperation(writer, operation))
  }
}

function writeOperation(writer: WireWriter, operation: TxnOperation): void {
  switch (operation.type) {
    case 'range':
      writer.message(1, () => writeRange(writer, operation.range))
      break
    case 'put':
      writer.message(2, () => {
        if (operation.lease !== undefined) writer.integer(3, operation.lease)
        writer.bytes(2, ...operation.parts)
        writer.bytes(1, operation.key)
      })
      break
    case 'delete':
      writer.message(3, () => {
        if (operation.end) writer.bytes(2, operation.end)
        writer.bytes(1, operation.key)
      })
      break
    case 'nested':
      writer.message(4, () => writeOperations(writer, 2, operation.operations))
      break
  }
}

// ------------------------------------------------------------- responses

export function decodeRange(message: Buffer): RangeResponse {
  let revision = 0
  let more = false
  const entries: KeyValue[] = []
  for (const field of fieldsOf(message)) {
    if (field.number === 1) revision = headerRevision(field.bytes)
    else if (field.number === 2) entries.push(decodeKeyValue(field.bytes))
    else if (field.number === 3) more = field.integer !== 0n
  }
  return { revision, entries, more }
}

export function decodeTxn(message: Buffer): TxnResponse {
  let revision = 0
  let succeeded = false
  const ranges: (RangeResponse | undefined)[] = []
  for (const field of fieldsOf(message)) {
    if (field.number === 1) revision = headerRevision(field.bytes)
    else if (field.number === 2) succeeded = field.integer !== 0n
    else if (field.number === 3) {
      let range: RangeResponse | undefined
      for (const inner of fieldsOf(field.bytes)) if (inner.number === 1) range = decodeRange(inner.bytes)
      ranges.push(range)
    }
  }
  return { revision, succeeded, ranges }
}

/** LeaseGrantResponse and LeaseKeepAliveResponse. A TTL of 0: there is no such lease any more. Seconds. */
export function decodeLease(message: Buffer): { id: bigint; ttl: number } {
  let id = 0n
  let ttl = 0
  for (const field of fieldsOf(message)) {
    if (field.number === 2) id = field.integer
    else if (field.number === 3) ttl = safeInteger(field.integer)
  }
  return { id, ttl }
}

export function decodeToken(message: Buffer): string {
  for (const field of fieldsOf(message)) if (field.number === 2) return field.bytes.toString()
  throw new WireError('an answer to Authenticate has no token')
}

export function decodeWatch(message: Buffer): WatchResponse {
  let canceled = false
  const events: WatchEvent[] = []
  for (const field of fieldsOf(message)) {
    if (field.number === 4) canceled = field.integer !== 0n
    else if (field.number === 11) {
      let type: WatchEvent['type'] = 'put'
      for (const inner of fieldsOf(field.bytes)) if (inner.number === 1 && inner.integer === 1n) type = 'delete'
      events.push({ type })
    }
  }
  return { canceled, events }
}

function headerRevision(message: Buffer): number {
  for (const field of fieldsOf(message)) if (field.number === 3) return safeInteger(field.integer)
  return 0
}

function decodeKeyValue(message: Buffer): KeyValue {
  let key: Buffer = Buffer.alloc(0)
  let createRevision = 0
  let modRevision = 0
  let value: Buffer = Buffer.alloc(0)
  let lease = 0n
  for (const field of fieldsOf(message)) {
    if (field.number === 1) key = field.bytes
    else if (field.number === 2) createRevision = safeInteger(field.integer)
    else if (field.number === 3) modRevision = safeInteger(field.integer)
    else if (field.number === 5) value = field.bytes
    else if (field.number === 6) lease = field.integer
  }
  return { key, createRevision, modRevision, value, lease }
}
