import {
  boundsOf,
  childName,
  type Entry,
  folderEnd,
  isEmptyRange,
  type KeyBounds,
  type ListOptions,
  listBounds,
  type ScanRange,
  StorageError,
} from '@lockstep/storage'
import type { EtcdClient } from './etcd-client.ts'
import { isTooLongAnswer } from './etcd-error.ts'
import { type Keyspace, readStored, successor } from './keyspace.ts'
import type { KeyValue, RangeRequest, RangeResponse } from './messages.ts'

const FIRST_PAGE = 16
// etcd walks its index from the page to the end of the range for each page, so few large ones are better.
const LARGEST_PAGE = 16_384
/** Aimed at per page of a scan, bytes. */
const PAGE_BYTES = 4 * 1024 * 1024
/** etcd's limit of operations in one Txn is 128. */
const KEYS_PER_TXN = 64
/** Entries that are asked for in one page without knowing how long they are; keys per step of a descending scan. */
const STRIDE = 256

/** What a read has found, for those who must know whether it still holds later. */
export interface ReadObserver {
  /** Of a key that is absent, undefined. */
  key(key: string, modRevision: number | undefined): void
}

/** Reads of etcd at one revision; `revision` 0 is the newest at the time of the call. */
export class SnapshotReads {
  readonly #client: EtcdClient
  readonly #keys: Keyspace

  constructor(client: EtcdClient, keys: Keyspace) {
    this.#client = client
    this.#keys = keys
  }

  /** The revision that all of a longer read can be taken at. */
  async newest(): Promise<number> {
    return (await this.#client.range({ key: this.#keys.epoch, keysOnly: true })).revision
  }

  async get(
    key: string,
    revision: number,
    observer?: ReadObserver,
  ): Promise<{ revision: number; value: Uint8Array | undefined }> {
    const answer = await this.#client.range({ key: this.#keys.data(key), revision })
    const entry = answer.entries[0]
    observer?.key(key, entry?.modRevision)
    const at = revision || answer.revision
    return { revision: at, value: entry && (await this.#valueOf(key, entry, at)) }
  }

  async getMany(
    keys: readonly string[],
    revision: number,
    observer?: ReadObserver,
  ): Promise<{ revision: number; values: (Uint8Array | undefined)[] }> {
    const values: (Uint8Array | undefined)[] = []
    let at = revision
    let size = KEYS_PER_TXN
    while (values.length < keys.length) {
      const some = keys.slice(values.length, values.length + size)
      const success = some.map(
        (key) => ({ type: 'range', range: { key: this.#keys.data(key), revision: at } }) as const,
      )
      try {
        const answer = await this.#client.txn({ compare: [], success, failure: [] })
        at ||= answer.revision
        for (let i = 0; i < some.length; i++) {
          const entry = answer.ranges[i]?.entries[0]
          observer?.key(some[i]!, entry?.modRevision)
          values.push(entry && (await this.#valueOf(some[i]!, entry, at)))
        }
      } catch (error) {
        if (size === 1 || !isTooLongAnswer(error)) throw error
        size = Math.ceil(size / 8)
      }
    }
    return { revision: at, values }
  }

  /** `observer` hears of one key for each child: as long as that is there, the child is. */
  async list(prefix: string, options: ListOptions, revision: number, observer?: ReadObserver): Promise<string[]> {
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    const bounds = listBounds(prefix, options)
    const names: string[] = []
    let at = revision
    let size = Math.min(FIRST_PAGE, limit)
    while (names.length < limit && !isEmptyRange(bounds)) {
      const page = await this.#page({ ...this.#keys.range(bounds), limit: size, revision: at, keysOnly: true })
      at ||= page.revision
      let folder = false
      const before = names.length
      for (const { key, modRevision } of page.entries) {
        const name = this.#keys.nameOf(key)
        const child = childName(prefix, name)
        bounds.lower = name
        bounds.lowerInclusive = false
        folder = child.endsWith('/')
        if (child === names.at(-1)) continue
        if (names.length >= limit) return names
        observer?.key(name, modRevision)
        names.push(child)
      }
      if (!page.more) break
      if (folder) {
        // Over what is left of it.
        bounds.lower = folderEnd(prefix + names.at(-1)!)
        bounds.lowerInclusive = true
      }
      // A page within one folder has read too much, a page of all different children too little.
      const found = names.length - before
      size = found * 2 < page.entries.length ? Math.max(FIRST_PAGE, found) : Math.min(size * 4, LARGEST_PAGE)
    }
    return names
  }

  async *scan(range: ScanRange, revision: number, observer?: ReadObserver): AsyncGenerator<Entry> {
    const bounds = boundsOf(range)
    const limit = range.limit ?? Number.POSITIVE_INFINITY
    if (limit <= 0 || isEmptyRange(bounds)) return
    yield* range.reverse
      ? this.#descending(bounds, limit, revision, observer)
      : this.#ascending(bounds, limit, revision, observer)
  }

  async *#ascending(
    bounds: KeyBounds,
    limit: number,
    revision: number,
    observer?: ReadObserver,
  ): AsyncGenerator<Entry> {
    const rest = { ...bounds }
    let left = limit
    let at = revision
    // Who says how many are wanted gets them at once.
    for (let size = left <= STRIDE ? left : FIRST_PAGE; ; ) {
      const page = await this.#page({ ...this.#keys.range(rest), limit: Math.min(size, left), revision: at })
      at ||= page.revision
      let bytes = 0
      for (const entry of page.entries) {
        const name = this.#keys.nameOf(entry.key)
        bytes += entry.value.byteLength + entry.key.byteLength
        observer?.key(name, entry.modRevision)
        yield [name, await this.#valueOf(name, entry, at)]
        rest.lower = name
        rest.lowerInclusive = false
      }
      left -= page.entries.length
      if (left <= 0 || !page.more) return
      const fitting = Math.floor((PAGE_BYTES * page.entries.length) / (bytes + 1))
      size = Math.max(1, Math.min(fitting, page.entries.length * 4, LARGEST_PAGE))
    }
  }

  /** etcd sorts a descending range whole, with all its values: here the keys are read first, then the values in strides. */
  async *#descending(
    bounds: KeyBounds,
    limit: number,
    revision: number,
    observer?: ReadObserver,
  ): AsyncGenerator<Entry> {
    const starts: string[] = []
    const rest = { ...bounds }
    let at = revision
    for (let count = 0; ; ) {
      const page = await this.#page({ ...this.#keys.range(rest), limit: LARGEST_PAGE, revision: at, keysOnly: true })
      at ||= page.revision
      for (const { key } of page.entries) {
        if (count++ % STRIDE === 0) starts.push(this.#keys.nameOf(key))
      }
      const last = page.entries.at(-1)
      if (!page.more || last === undefined) break
      rest.lower = successor(this.#keys.nameOf(last.key))
      rest.lowerInclusive = true
    }
    let left = limit
    let upper = bounds.upper
    for (let lower = starts.pop(); lower !== undefined && left > 0; lower = starts.pop()) {
      const stride: { entry: Entry; modRevision: number }[] = []
      const within: KeyBounds = { lower, lowerInclusive: true }
      if (upper !== undefined) within.upper = upper
      const noted: ReadObserver = { key: (_, modRevision) => void seen.push(modRevision!) }
      const seen: number[] = []
      for await (const entry of this.#ascending(within, STRIDE, at, noted)) {
        stride.push({ entry, modRevision: seen.at(-1)! })
      }
      for (let last = stride.pop(); last !== undefined && left > 0; last = stride.pop(), left--) {
        observer?.key(last.entry[0], last.modRevision)
        yield last.entry
      }
      upper = lower
    }
  }

  /** With fewer entries than asked for when more would be too long an answer. */
  async #page(request: RangeRequest & { limit: number }): Promise<RangeResponse> {
    for (let limit = request.limit; ; limit = Math.ceil(limit / 8)) {
      try {
        return await this.#client.range({ ...request, limit })
      } catch (error) {
        if (limit === 1 || !isTooLongAnswer(error)) throw error
      }
    }
  }

  async #valueOf(key: string, entry: KeyValue, revision: number): Promise<Uint8Array> {
    const stored = readStored(key, entry.value)
    if (stored instanceof Uint8Array) return stored
    const value = new Uint8Array(stored.length)
    let length = 0
    const range = this.#keys.partsOf(key, stored.id)
    for (let more = true; more; ) {
      // Two at a time: parts are about as long as a request may be.
      const page = await this.#page({ ...range, limit: 2, revision })
      for (const part of page.entries) {
        if (length + part.value.byteLength > value.byteLength) throw damaged(key)
        value.set(part.value, length)
        length += part.value.byteLength
        range.key = Buffer.concat([part.key, Buffer.alloc(1)])
      }
      more = page.more
    }
    if (length !== value.byteLength) throw damaged(key)
    return value
  }
}

function damaged(key: string): StorageError {
  return new StorageError('STORAGE_CORRUPT', `the parts of the value of key ${JSON.stringify(key)} are not whole`)
}
