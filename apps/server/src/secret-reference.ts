/** Secrets of the configuration: literal, or where they are. */
import { readFile } from 'node:fs/promises'
import { StartupError } from './startup-error.ts'

/**
 * `file://PATH` is the content of the file, `env://NAME` the value of an environment variable, everything else itself. Rejects
 * with `StartupError` naming `field` and the reference, never the secret.
 */
export async function resolveSecret(field: string, reference: string): Promise<string | Buffer> {
  if (reference.startsWith('env://')) {
    const value = process.env[reference.slice('env://'.length)]
    if (value === undefined || value === '') throw new StartupError(`${field}: ${reference} is not set`)
    return value
  }
  if (!reference.startsWith('file://')) return reference
  try {
    return await readFile(reference.slice('file://'.length))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new StartupError(`${field}: ${reference} cannot be read: ${code}`)
  }
}
