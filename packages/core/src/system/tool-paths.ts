import { createHash } from 'node:crypto'
import { type BackendResponse, field, type Path, path } from '@lockstep/backend'
import type { SystemComponents } from './components.ts'
import { refused } from './mount-input.ts'

const maxRandomBytes = 128 * 1024
const sources = new Set(['platform', 'seal', 'all'])
const hashes: Record<string, string> = {
  'sha2-224': 'sha224',
  'sha2-256': 'sha256',
  'sha2-384': 'sha384',
  'sha2-512': 'sha512',
  'sha3-224': 'sha3-224',
  'sha3-256': 'sha3-256',
  'sha3-384': 'sha3-384',
  'sha3-512': 'sha3-512',
}

const randomFields = {
  bytes: field.int({ default: 32, description: 'How many bytes. In the path it wins over the body.' }),
  format: field.string({ default: 'base64', description: 'base64 or hex.' }),
  source: field.string({ default: 'platform', description: 'platform, seal or all.' }),
}
const hashFields = {
  input: field.string({ default: '', description: 'Base64 of what to hash.' }),
  algorithm: field.string({ default: 'sha2-256', description: 'sha2-* or sha3-* with 224, 256, 384 or 512 bits.' }),
  format: field.string({ default: 'hex', description: 'hex or base64.' }),
}

/** sys/tools/random and sys/tools/hash. */
export function toolPaths({ random }: SystemComponents): Path[] {
  function randomBytes(bytes: number, format: string, source: string): BackendResponse {
    if (bytes < 1) throw refused("'bytes' cannot be less than 1")
    if (bytes > maxRandomBytes) throw refused(`'bytes' should be less than ${maxRandomBytes}`)
    if (!sources.has(source)) {
      throw refused(`unsupported entropy source "${source}"; must be "platform" or "seal", or "all"`)
    }
    if (format !== 'hex' && format !== 'base64') {
      throw refused(`unsupported encoding format "${format}"; must be "hex" or "base64"`)
    }
    const text = Buffer.from(random(bytes)).toString(format)
    const warning = 'no seal/entropy augmentation available, using platform entropy source'
    return { data: { random_bytes: text }, ...(source === 'platform' ? undefined : { warnings: [warning] }) }
  }

  return [
    path('tools/random', {
      fields: randomFields,
      operations: { update: ({ field }) => randomBytes(field.bytes, field.format, field.source) },
      help: 'Random bytes.',
    }),
    path('tools/random/:first', {
      fields: randomFields,
      operations: {
        update: ({ params, field }) =>
          sources.has(params.first)
            ? randomBytes(field.bytes, field.format, params.first)
            : randomBytes(count(params.first), field.format, field.source),
      },
      help: 'Random bytes.',
    }),
    path('tools/random/:source/:bytes', {
      fields: randomFields,
      operations: { update: ({ params, field }) => randomBytes(count(params.bytes), field.format, params.source) },
      help: 'Random bytes.',
    }),
    path('tools/hash', {
      fields: hashFields,
      operations: { update: ({ field }) => hash(field.input, field.algorithm, field.format) },
      help: 'The hash of a value.',
    }),
    path('tools/hash/:algorithm', {
      fields: hashFields,
      operations: { update: ({ params, field }) => hash(field.input, params.algorithm, field.format) },
      help: 'The hash of a value.',
    }),
  ]
}

function count(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text))
    throw refused(`error parsing url-set byte count: ${JSON.stringify(text)} is no number`)
  return Number(text)
}

function hash(input: string, algorithm: string, format: string): BackendResponse {
  if (input.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(input)) {
    throw refused('unable to decode input as base64: illegal base64 data')
  }
  if (format !== 'hex' && format !== 'base64') {
    throw refused(`unsupported encoding format ${format}; must be "hex" or "base64"`)
  }
  const name = Object.hasOwn(hashes, algorithm) ? hashes[algorithm] : undefined
  if (name === undefined) throw refused(`unsupported algorithm ${algorithm}`)
  return { data: { sum: createHash(name).update(Buffer.from(input, 'base64')).digest(format) } }
}
