import { type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { type BatchItem, batchItem, batchItems, batchResults } from './batch.ts'
import type { KeyStore } from './key-store.ts'
import { supports } from './key-type.ts'
import { sign } from './signature.ts'
import { type SignatureFields, signatureFields, signatureOptions } from './signature-fields.ts'
import { contextFor, refuse, type TransitKey, versionToUse } from './transit-key.ts'
import { versionedText } from './versioned-text.ts'

export function signPaths(keys: KeyStore): Path[] {
  async function answer(name: string, data: Record<string, unknown>, given: SignatureFields, urlAlgorithm?: string) {
    const key = (await keys.get(name)) ?? refuse('signing key not found')
    const { type } = key.settings
    if (!supports(type).signing) refuse(`key type ${type} does not support signing`)
    if (given.batch_input === undefined) {
      const item = batchItem(data, 'input')
      return { data: signItem(key, { ...item, value: item.value ?? '' }, given, urlAlgorithm) }
    }
    const items = batchItems(given.batch_input, 'input')
    const failed = { key_version: 0 }
    const { results } = batchResults(items, (item) => signItem(key, item, given, urlAlgorithm), failed)
    return { data: { batch_results: results } }
  }

  return [
    path('sign/:name', {
      help: 'Signs base64 input.',
      fields: signatureFields,
      operations: { update: (request) => answer(request.params.name, request.data, request.field) },
    }),
    path('sign/:name/:algorithm', {
      help: 'Signs base64 input, hashed with the algorithm in the path.',
      fields: signatureFields,
      operations: {
        update: (request) => answer(request.params.name, request.data, request.field, request.params.algorithm),
      },
    }),
  ]
}

function signItem(
  key: TransitKey,
  item: BatchItem,
  given: SignatureFields,
  urlAlgorithm: string | undefined,
): Record<string, unknown> {
  if (item.value === undefined) refuse('missing input')
  const input = decodeBase64(item.value, 'unable to decode input as base64: ')
  const context = contextFor(key, item.context === undefined ? undefined : decodeBase64(item.context))
  const version = versionToUse(key, item.keyVersion, 'signing')
  const { type } = key.settings
  const options = signatureOptions(type, given, urlAlgorithm, context)
  const result: Record<string, unknown> = {
    signature: versionedText(version.number, sign(type, version, input, options)),
    key_version: version.number,
  }
  if (context !== undefined) {
    const { x } = version.publicKey(context).export({ format: 'jwk' })
    result.public_key = Buffer.from(x!, 'base64url').toString('base64')
  }
  return result
}
