/**
 * `state.bin` of a snapshot: the rows of a storage generation in ascending order of their names' bytes, as they are stored.
 *
 * | bytes | what                                                        |
 * |-------|-------------------------------------------------------------|
 * | 8     | `LSSTATE` and the format, 1                                 |
 * |       | for each row:                                               |
 * | 4     | bytes of its name, at least 1                               |
 * | 4     | bytes of its value                                          |
 * |       | name (UTF-8), value                                         |
 * |       | at the end:                                                 |
 * | 4     | 0                                                           |
 * | 6     | number of rows                                              |
 *
 * Integers are big-endian. Nothing follows.
 */
import { MAX_KEY_BYTES } from '@lockstep/storage'
import { SnapshotError } from './snapshot-error.ts'

export interface Row {
  name: string
  value: Uint8Array
}

const MAGIC = Buffer.from('LSSTATE\x01', 'latin1')
const FORMAT = 1
const LENGTHS = 8
const COUNT_BYTES = 6
/** A stored name is a logical key and a few bytes. */
const MAX_NAME_BYTES = MAX_KEY_BYTES + 64
/** Over what one commit may hold. */
const MAX_VALUE_BYTES = 32 * 1024 * 1024
/** Of an encoded chunk or a decoded batch, about. */
const BATCH_BYTES = 256 * 1024

/** In chunks of about 256 KiB. */
export async function* encodeState(rows: AsyncIterable<readonly [string, Uint8Array]>): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = [MAGIC]
  let size = MAGIC.length
  let count = 0
  for await (const [name, value] of rows) {
    const nameBytes = Buffer.byteLength(name)
    const head = Buffer.allocUnsafe(LENGTHS + nameBytes)
    head.writeUInt32BE(nameBytes, 0)
    head.writeUInt32BE(value.byteLength, 4)
    head.write(name, LENGTHS)
    parts.push(head, value)
    size += head.length + value.byteLength
    count++
    if (size < BATCH_BYTES) continue
    yield Buffer.concat(parts, size)
    parts = []
    size = 0
  }
  const end = Buffer.alloc(4 + COUNT_BYTES)
  end.writeUIntBE(count, 4, COUNT_BYTES)
  yield Buffer.concat([...parts, end])
}

/**
 * In batches of about 256 KiB, at least one row each. Holds at most one row and one chunk. Throws `SnapshotError` for anything that
 * `encodeState` did not write, as soon as it is met.
 */
export async function* decodeState(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Row[]> {
  const bytes = byteReader(chunks)
  const names = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const magic = await bytes.take(MAGIC.length)
  if (!magic.subarray(0, MAGIC.length - 1).equals(MAGIC.subarray(0, MAGIC.length - 1))) throw malformed('no state')
  if (magic[MAGIC.length - 1] !== FORMAT) {
    throw malformed(`format ${magic[MAGIC.length - 1]}, this version reads format ${FORMAT}`)
  }
  let previous: Buffer = Buffer.alloc(0)
  let count = 0
  let batch: Row[] = []
  let size = 0
  for (;;) {
    const nameBytes = (await bytes.take(4)).readUInt32BE(0)
    if (nameBytes === 0) break
    if (nameBytes > MAX_NAME_BYTES) throw malformed(`row ${count + 1} has a name of ${nameBytes} bytes`)
    const valueBytes = (await bytes.take(4)).readUInt32BE(0)
    if (valueBytes > MAX_VALUE_BYTES) throw malformed(`row ${count + 1} has a value of ${valueBytes} bytes`)
    // A copy: what is left of the chunk need not stay in memory for it.
    const encoded = Buffer.from(await bytes.take(nameBytes))
    if (previous.compare(encoded) >= 0) throw malformed(`row ${count + 1} is out of order`)
    previous = encoded
    let name: string
    try {
      name = names.decode(encoded)
    } catch {
      throw malformed(`the name of row ${count + 1} is not UTF-8`)
    }
    batch.push({ name, value: await bytes.take(valueBytes) })
    count++
    size += nameBytes + valueBytes
    if (size < BATCH_BYTES) continue
    yield batch
    batch = []
    size = 0
  }
  const told = (await bytes.take(COUNT_BYTES)).readUIntBE(0, COUNT_BYTES)
  if (told !== count) throw malformed(`it has ${count} rows and says ${told}`)
  if (!(await bytes.ended())) throw malformed('something follows its end')
  if (batch.length > 0) yield batch
}

interface ByteReader {
  /** Exactly so many. What was taken may share memory with its neighbours. */
  take(length: number): Promise<Buffer>
  ended(): Promise<boolean>
}

function byteReader(chunks: AsyncIterable<Uint8Array>): ByteReader {
  const source = chunks[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)

  async function pull(): Promise<Buffer | undefined> {
    for (;;) {
      const { done, value } = await source.next()
      if (done) return undefined
      if (value.byteLength > 0) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    }
  }

  /** Grows by what has come, never by what a length promises. */
  async function fill(length: number): Promise<void> {
    const parts = [held]
    let size = held.length
    while (size < length) {
      const chunk = await pull()
      if (chunk === undefined) throw malformed('it ends early')
      parts.push(chunk)
      size += chunk.length
    }
    held = Buffer.concat(parts, size)
  }

  return {
    async take(length) {
      if (held.length < length) await fill(length)
      const taken = held.subarray(0, length)
      held = held.subarray(length)
      return taken
    },
    ended: async () => held.length === 0 && (await pull()) === undefined,
  }
}

function malformed(problem: string): SnapshotError {
  return new SnapshotError(`state.bin is malformed: ${problem}`)
}
