/**
 * Appends lines to a file. Lines that arrive while a write is under way go out together in the next one. A failed write opens the
 * file again and tries once more, so that a device recovers by itself; a line may then be there twice, never silently missing.
 */
import { type FileHandle, open } from 'node:fs/promises'
import type { LineSink } from './line-sink.ts'

interface Batch {
  lines: string[]
  done: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

/** Opened at once; rejects when the file cannot be. `mode` 0 leaves the permissions of an existing file alone. */
export async function openFileSink(path: string, mode: number): Promise<LineSink> {
  const sink = fileSink(path, mode)
  await sink.reopen()
  return sink
}

/** Opened by the first write. */
export function fileSink(path: string, mode: number): LineSink {
  let file: Promise<FileHandle> | undefined
  let waiting: Batch | undefined
  let running: Promise<void> | undefined
  let closed = false

  async function openFile(): Promise<FileHandle> {
    const opened = await open(path, 'a', mode === 0 ? 0o600 : mode)
    try {
      const stats = await opened.stat()
      if (mode !== 0 && stats.isFile() && (stats.mode & 0o777) !== mode) await opened.chmod(mode)
    } catch (error) {
      await opened.close()
      throw error
    }
    return opened
  }

  function current(): Promise<FileHandle> {
    if (file !== undefined) return file
    const opening = openFile()
    file = opening
    opening.catch(() => {
      if (file === opening) file = undefined
    })
    return opening
  }

  async function reopen(): Promise<void> {
    // The old file stays in use when the new one cannot be opened.
    const fresh = await openFile()
    const old = file
    file = Promise.resolve(fresh)
    await (await old?.catch(() => undefined))?.close()
  }

  async function append(text: string): Promise<void> {
    try {
      await (await current()).appendFile(text)
    } catch {
      await reopen()
      await (await current()).appendFile(text)
    }
  }

  async function drain(): Promise<void> {
    while (waiting !== undefined) {
      const batch = waiting
      waiting = undefined
      try {
        await append(batch.lines.join(''))
        batch.resolve()
      } catch (error) {
        batch.reject(error)
      }
    }
    running = undefined
  }

  return {
    write(line) {
      if (closed) return Promise.reject(new Error('the audit device is closed'))
      waiting ??= newBatch()
      waiting.lines.push(line)
      const { done } = waiting
      running ??= drain()
      return done
    },
    async reopen() {
      if (!closed) await reopen()
    },
    async close() {
      closed = true
      await running
      const last = await file?.catch(() => undefined)
      file = undefined
      await last?.close()
    },
  }
}

function newBatch(): Batch {
  let resolve!: () => void
  let reject!: (error: unknown) => void
  const done = new Promise<void>((onDone, onFailed) => {
    resolve = onDone
    reject = onFailed
  })
  return { lines: [], done, resolve, reject }
}
