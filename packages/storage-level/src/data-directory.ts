import { mkdir, open, readdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { StorageError } from '@lockstep/storage'

/**
 * Makes sure that LevelDB may open or create its files here. LevelDB itself would create missing parents, which hides
 * a disk that is not mounted, and would start an empty database where only the file that names the current one is lost.
 */
export async function prepareDataDirectory(path: string): Promise<void> {
  const state = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw unusable(path, error)
  })
  if (state === undefined) return create(path)
  if (!state.isDirectory()) throw new StorageError('STORAGE_UNAVAILABLE', `data directory ${path} is not a directory`)
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    throw unusable(path, error)
  })
  if (!names.includes('CURRENT') && names.some((name) => /\.(ldb|sst|log)$/.test(name))) {
    throw new StorageError('STORAGE_CORRUPT', `data directory ${path} has data files but its file CURRENT is missing`)
  }
}

async function create(path: string): Promise<void> {
  const parent = dirname(resolve(path))
  try {
    await mkdir(path, { mode: 0o700 })
    // Else power loss could take the directory away with everything that was synced into it.
    const handle = await open(parent, 'r')
    await handle.sync().finally(() => handle.close())
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new StorageError('STORAGE_UNAVAILABLE', `the parent of data directory ${path} does not exist`, {
        cause: error,
      })
    }
    throw unusable(path, error)
  }
}

function unusable(path: string, cause: unknown): StorageError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  return new StorageError('STORAGE_UNAVAILABLE', `data directory ${path} cannot be used: ${code}`, { cause })
}
