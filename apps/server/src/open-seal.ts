import { readFile } from 'node:fs/promises'
import { type AutoSeal, staticKeySeal } from '@lockstep/seal'
import type { AutoSealConfig, StaticSealConfig } from './config/server-config.ts'
import { StartupError } from './startup-error.ts'

const KEY_BYTES = 32

/** Undefined for Shamir. */
export async function openSeal(config: AutoSealConfig | undefined): Promise<AutoSeal | undefined> {
  switch (config?.type) {
    case undefined:
      return undefined
    case 'static':
      return openStatic(config)
    default:
      throw new StartupError(`seal "${config!.type}" is not in this build`)
  }
}

/** Keys are given literally (hex or base64) or as `file://PATH` or `env://NAME`. */
async function openStatic(config: StaticSealConfig): Promise<AutoSeal> {
  const key = await resolveKey('current_key', config.currentKey)
  const previous =
    config.previousKey === undefined
      ? {}
      : { previousKeyId: config.previousKeyId, previousKey: await resolveKey('previous_key', config.previousKey) }
  return staticKeySeal({ keyId: config.currentKeyId, key, ...previous })
}

async function resolveKey(field: string, reference: string): Promise<Uint8Array> {
  const bytes = decodeKey(await resolveReference(field, reference))
  if (bytes === undefined) {
    throw new StartupError(`seal "static": ${field}: expected ${KEY_BYTES} bytes as hex or base64`)
  }
  return bytes
}

async function resolveReference(field: string, reference: string): Promise<string | Buffer> {
  if (reference.startsWith('env://')) {
    const value = process.env[reference.slice('env://'.length)]
    if (value === undefined || value === '') throw new StartupError(`seal "static": ${field}: ${reference} is not set`)
    return value
  }
  if (!reference.startsWith('file://')) return reference
  try {
    return await readFile(reference.slice('file://'.length))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new StartupError(`seal "static": ${field}: ${reference} cannot be read: ${code}`)
  }
}

/** A file may also hold the 32 bytes themselves. */
function decodeKey(given: string | Buffer): Uint8Array | undefined {
  if (Buffer.isBuffer(given) && given.length === KEY_BYTES) return given
  const text = given.toString().trim()
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64')
  return bytes.length === KEY_BYTES ? bytes : undefined
}
