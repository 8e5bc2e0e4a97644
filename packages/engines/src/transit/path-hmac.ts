import { createHmac } from 'node:crypto'
import { field, type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { type BatchItem, batchItem, batchItems, batchResults } from './batch.ts'
import { hashAlgorithm } from './hash-algorithm.ts'
import type { KeyStore } from './key-store.ts'
import type { KeyVersion } from './key-version.ts'
import { defaultHash } from './signature-fields.ts'
import { refuse, type TransitKey } from './transit-key.ts'
import { versionedText } from './versioned-text.ts'

const fields = {
  batch_input: field.list({ description: 'Several items instead of one.' }),
  algorithm: field.string({ default: defaultHash, description: 'sha1, sha2-… or sha3-….' }),
}

export function hmacPaths(keys: KeyStore): Path[] {
  async function answer(name: string, data: Record<string, unknown>, batch: unknown[] | undefined, algorithm: string) {
    const key = (await keys.get(name)) ?? refuse('encryption key not found')
    if (batch === undefined) return { data: hmacItem(key, batchItem(data, 'input'), algorithm) }
    const { results } = batchResults(batchItems(batch, 'input'), (item) => hmacItem(key, item, algorithm))
    return { data: { batch_results: results } }
  }

  return [
    path('hmac/:name', {
      help: "HMAC of base64 input under the key's HMAC key.",
      fields,
      operations: {
        update: ({ params, data, field: given }) => answer(params.name, data, given.batch_input, given.algorithm),
      },
    }),
    path('hmac/:name/:algorithm', {
      help: "HMAC of base64 input under the key's HMAC key, with the hash in the path.",
      fields,
      operations: {
        update: ({ params, data, field: given }) => answer(params.name, data, given.batch_input, params.algorithm),
      },
    }),
  ]
}

export function hmacOf(version: KeyVersion, algorithm: string, input: Buffer): Buffer {
  const hash = hashAlgorithm(algorithm) ?? refuse(`unsupported algorithm ${JSON.stringify(algorithm)}`)
  return createHmac(hash.node, version.hmacKey).update(input).digest()
}

function hmacItem(key: TransitKey, item: BatchItem, algorithm: string): Record<string, unknown> {
  if (item.value === undefined) refuse('missing input for HMAC')
  const input = decodeBase64(item.value, 'unable to decode input as base64: ')
  const version = versionFor(key, item.keyVersion)
  return { hmac: versionedText(version.number, hmacOf(version, algorithm, input).toString('base64')) }
}

function versionFor(key: TransitKey, requested: number): KeyVersion {
  const { latest, minEncryption } = key.settings
  if (requested < 0) refuse('key version does not exist (cannot be negative)')
  if (requested > latest) refuse(`key version does not exist; latest key version is ${latest}`)
  if (requested !== 0 && requested < minEncryption) {
    refuse('cannot generate HMAC: version is too old (disallowed by policy)')
  }
  return key.versions.get(requested || latest) ?? refuse('no such key version')
}
