import { createHash } from 'node:crypto'
import { field, type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { hashAlgorithm } from './hash-algorithm.ts'
import { defaultHash } from './signature-fields.ts'
import { refuse } from './transit-key.ts'

const fields = {
  input: field.string({ description: 'Base64.' }),
  algorithm: field.string({ default: defaultHash, description: 'sha1, sha2-… or sha3-….' }),
  format: field.string({ default: 'hex', description: 'hex or base64.' }),
}

export function hashPaths(): Path[] {
  return [
    path('hash', {
      help: 'Hashes base64 input.',
      fields,
      operations: { update: ({ field: given }) => sum(given.input, given.algorithm, given.format) },
    }),
    path('hash/:algorithm', {
      help: 'Hashes base64 input with the algorithm in the path.',
      fields,
      operations: { update: ({ params, field: given }) => sum(given.input, params.algorithm, given.format) },
    }),
  ]
}

function sum(input: string | undefined, algorithm: string, format: string) {
  if (input === undefined) refuse('input missing')
  const bytes = decodeBase64(input, 'unable to decode input as base64: ')
  if (format !== 'hex' && format !== 'base64') {
    refuse(`unsupported encoding format ${format}; must be "hex" or "base64"`)
  }
  const hash = hashAlgorithm(algorithm) ?? refuse(`unsupported algorithm ${algorithm}`)
  return { data: { sum: createHash(hash.node).update(bytes).digest(format) } }
}
