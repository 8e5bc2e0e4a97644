/**
 * The archive that Vault's and OpenBao's clients know as a raft snapshot: a gzip-compressed tar of `meta.json`, `state.bin`,
 * `SHA256SUMS` of the two, and `SHA256SUMS.sealed`, by which the clients see that nothing is missing.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { extract, pack } from 'tar-stream'
import { SnapshotError } from './snapshot-error.ts'

const META = 'meta.json'
const STATE = 'state.bin'
const SUMS = 'SHA256SUMS'
const SEALED = 'SHA256SUMS.sealed'
const NAMES = [META, STATE, SUMS, SEALED] as const

/** Of every file but the state. */
const MAX_SMALL_BYTES = 64 * 1024
/** Bytes that may pass between what is made use of: headers, padding, the end. Long names and the like are none of ours. */
const MAX_IDLE_BYTES = 1024 * 1024

export interface ArchiveParts {
  meta: Uint8Array
  state: {
    size: number
    /** SHA-256, hex. */
    digest: string
    read(): Readable
  }
  /** What proves that a cluster with this seal made the sums. */
  seal(sums: Uint8Array): Promise<Uint8Array>
}

/** The archive as it is to be sent; destroy it when it is not wanted after all. Errors of the state end it with an error. */
export function writeArchive({ meta, state, seal }: ArchiveParts, time: Date): Readable {
  const tar = pack()
  const gzip = createGzip({ level: 1 })
  const header = (name: string, size: number) => ({ name, size, mode: 0o600, mtime: time })
  const small = (name: string, bytes: Uint8Array): void =>
    void tar.entry(header(name, bytes.byteLength), Buffer.from(bytes))

  async function fill(): Promise<void> {
    small(META, meta)
    await pipeline(state.read(), tar.entry(header(STATE, state.size)) as unknown as NodeJS.WritableStream)
    const sums = Buffer.from(`${sha256(meta)}  ${META}\n${state.digest}  ${STATE}\n`)
    small(SUMS, sums)
    small(SEALED, await seal(sums))
    tar.finalize()
  }

  const packed = Readable.from(tar as AsyncIterable<Buffer>)
  // A reader that hung up has destroyed it.
  pipeline(packed, gzip).catch(() => {})
  fill().catch((error: Error) => {
    tar.destroy(error)
    gzip.destroy(error)
  })
  gzip.on('close', () => tar.destroy())
  return gzip
}

export interface ArchiveReader {
  meta(bytes: Buffer): Promise<void> | void
  /** Has to read it to its end, or throw. */
  state(chunks: AsyncIterable<Uint8Array>): Promise<void>
  /** Most bytes of the uncompressed archive. */
  maxBytes: number
}

/**
 * Reads an archive once, as it comes. Resolves with the sums, which hold for what was read, and their sealed form. Rejects with
 * `SnapshotError` for one that is cut short, changed, too big or not of this form; what `meta` and `state` throw passes through.
 */
export async function readArchive(
  source: AsyncIterable<Uint8Array>,
  reader: ArchiveReader,
): Promise<{ sums: Buffer; sealed: Buffer }> {
  const tar = extract()
  const digests = new Map<string, string>()
  const small = new Map<string, Buffer>()
  let idle = 0

  async function* bounded(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let total = 0
    for await (const chunk of chunks) {
      total += chunk.length
      idle += chunk.length
      if (total > reader.maxBytes) throw new SnapshotError(`the snapshot is larger than ${reader.maxBytes} bytes`)
      if (idle > MAX_IDLE_BYTES) throw new SnapshotError('the snapshot is not an archive of the expected form')
      yield chunk
    }
  }

  async function* content(name: string, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const hash = createHash('sha256')
    for await (const chunk of chunks) {
      idle = 0
      hash.update(chunk)
      yield chunk
    }
    digests.set(name, hash.digest('hex'))
  }

  async function readEntries(): Promise<void> {
    let next = 0
    for await (const entry of tar) {
      const expected = NAMES[next++]
      const { name, type } = entry.header
      if (name !== expected || type !== 'file') {
        throw new SnapshotError(
          `the snapshot holds ${JSON.stringify(name.slice(0, 80))} where ${expected ?? 'its end'} was expected`,
        )
      }
      const chunks = content(name, entry as AsyncIterable<Buffer>)
      if (name === STATE) {
        await reader.state(chunks)
        continue
      }
      const bytes = await readSmall(name, chunks)
      small.set(name, bytes)
      if (name === META) await reader.meta(bytes)
    }
    if (next < NAMES.length) throw new SnapshotError(`the snapshot ends before ${NAMES[next]}`)
  }

  let failure: unknown
  const reading = readEntries().catch((error: unknown) => {
    // The first to fail knows why; the other only that it was cut off.
    failure ??= error
    tar.destroy(error as Error)
    throw error
  })
  const feeding = pipeline(source, createGunzip(), bounded, tar as unknown as NodeJS.WritableStream).catch(
    (error: unknown) => {
      failure ??= error
      tar.destroy(error as Error)
      throw error
    },
  )
  await Promise.allSettled([reading, feeding])
  if (failure !== undefined) throw asSnapshotError(failure)

  const sums = small.get(SUMS)!
  checkSums(sums, digests)
  return { sums, sealed: small.get(SEALED)! }
}

async function readSmall(name: string, chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.length
    if (size > MAX_SMALL_BYTES)
      throw new SnapshotError(`${name} of the snapshot is larger than ${MAX_SMALL_BYTES} bytes`)
    parts.push(chunk)
  }
  return Buffer.concat(parts, size)
}

function checkSums(sums: Buffer, digests: ReadonlyMap<string, string>): void {
  const told = new Map(
    sums
      .toString('latin1')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(66), line.slice(0, 64)]),
  )
  for (const name of [META, STATE]) {
    if (told.get(name) !== digests.get(name))
      throw new SnapshotError(`the digest of ${name} is not the one in ${SUMS}: the snapshot is damaged`)
  }
}

/** zlib and the tar reader have errors of their own for what they cannot read. */
function asSnapshotError(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown }
  const unreadable = typeof code === 'string' && (code.startsWith('Z_') || code === 'ERR_STREAM_PREMATURE_CLOSE')
  if (!unreadable && !/^(?:Invalid tar header|Unexpected end of data|Writable stream closed)/.test(String(message)))
    return error
  return new SnapshotError('the snapshot is cut short, damaged, or no gzip-compressed tar archive', { cause: error })
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
