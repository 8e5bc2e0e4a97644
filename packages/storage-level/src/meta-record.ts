import { StorageError } from '@lockstep/storage'
import type { Database } from './level-engine.ts'

const FORMAT = 1

/** The key of the record. No key of a store is empty, so it cannot collide and is first in key order. */
const META_KEY = ''

interface Meta {
  format: number
  /** The last fencing token, decimal. */
  fencing: string
}

/** What a data directory says of itself: the version of its format, and the last fencing token. */
export class MetaRecord {
  readonly #database: Database
  #fencing: bigint
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(database: Database, meta: Meta) {
    this.#database = database
    this.#fencing = BigInt(meta.fencing)
  }

  /** Reads the record, or writes it into a new database. */
  static async open(database: Database, path: string): Promise<MetaRecord> {
    const stored = await database.get(META_KEY)
    if (stored !== undefined) return new MetaRecord(database, parse(stored, path))
    for await (const _ of database.keys({ limit: 1 })) {
      throw new StorageError(
        'STORAGE_CORRUPT',
        `data directory ${path} holds a database without a Lockstep format record`,
      )
    }
    const meta: Meta = { format: FORMAT, fencing: '0' }
    await database.put(META_KEY, encode(meta), { sync: true })
    return new MetaRecord(database, meta)
  }

  nextFencingToken(): Promise<bigint> {
    const token = ++this.#fencing
    // In order, so that an earlier token never overwrites a later one.
    const written = this.#writing.then(() =>
      this.#database.put(META_KEY, encode({ format: FORMAT, fencing: String(token) }), { sync: true }),
    )
    this.#writing = written.catch(() => undefined)
    return written.then(() => token)
  }
}

function encode(meta: Meta): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(meta))
}

function parse(stored: Uint8Array, path: string): Meta {
  let meta: Partial<Meta>
  try {
    meta = JSON.parse(new TextDecoder().decode(stored)) as Partial<Meta>
  } catch (cause) {
    throw new StorageError('STORAGE_CORRUPT', `data directory ${path} has a format record that is not JSON`, { cause })
  }
  const { format, fencing } = meta
  if (typeof format === 'number' && format > FORMAT) {
    throw new StorageError(
      'STORAGE_NEWER_FORMAT',
      `data directory ${path} has format ${format}, newer than ${FORMAT}, the newest this version can read`,
    )
  }
  if (format !== FORMAT || typeof fencing !== 'string' || !/^\d{1,30}$/.test(fencing)) {
    throw new StorageError('STORAGE_CORRUPT', `data directory ${path} has a format record that makes no sense`)
  }
  return { format, fencing }
}
