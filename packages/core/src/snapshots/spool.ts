/** A file without a name, in which a snapshot waits to be sent: the storage is read at its own pace, whoever reads the answer. */
import { createHash, randomUUID } from 'node:crypto'
import { open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { CoreError } from '../contracts.ts'

export interface Spooled {
  readonly size: number
  /** SHA-256, hex. */
  readonly digest: string
  read(): Readable
  /** Gives the space back. Idempotent. */
  close(): Promise<void>
}

/** Rejects with CORE_UNAVAILABLE where the directory takes no more, or past `maxBytes`. */
export async function spool(directory: string, chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Spooled> {
  const path = join(directory, `lockstep-snapshot-${randomUUID()}`)
  const file = await open(path, 'wx+', 0o600).catch((error: NodeJS.ErrnoException) => {
    throw unwritable(directory, error)
  })
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= file.close()
    return closing
  }
  try {
    // From here on the space is given back when the process ends, however it ends.
    await unlink(path)
    const hash = createHash('sha256')
    let size = 0
    for await (const chunk of chunks) {
      size += chunk.byteLength
      if (size > maxBytes) throw new CoreError('CORE_UNAVAILABLE', `the snapshot is larger than ${maxBytes} bytes`)
      hash.update(chunk)
      await write(chunk)
    }
    const digest = hash.digest('hex')
    return {
      size,
      digest,
      read: () => file.createReadStream({ start: 0, autoClose: false, highWaterMark: 256 * 1024 }),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }

  async function write(chunk: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten
    } catch (error) {
      throw unwritable(directory, error as NodeJS.ErrnoException)
    }
  }
}

function unwritable(directory: string, error: NodeJS.ErrnoException): CoreError {
  return new CoreError(
    'CORE_UNAVAILABLE',
    `the snapshot cannot be kept in ${directory} while it is sent: ${error.code}`,
    {
      cause: error,
    },
  )
}
