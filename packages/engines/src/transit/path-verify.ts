import { timingSafeEqual } from 'node:crypto'
import { type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { type BatchItem, batchItem, batchItems, batchResults } from './batch.ts'
import type { KeyStore } from './key-store.ts'
import { hmacOf } from './path-hmac.ts'
import { verify } from './signature.ts'
import { defaultHash, type SignatureFields, signatureFields, signatureOptions } from './signature-fields.ts'
import { contextFor, refuse, type TransitKey, versionThatMade } from './transit-key.ts'
import { parseVersionedText } from './versioned-text.ts'

export function verifyPaths(keys: KeyStore): Path[] {
  async function answer(name: string, data: Record<string, unknown>, given: SignatureFields, urlAlgorithm?: string) {
    const batch = given.batch_input
    const items = batch === undefined ? [batchItem(data, 'input')] : batchItems(batch, 'input')
    const kind = kindOf(items, batch !== undefined)
    const key = (await keys.get(name)) ?? refuse('signature verification key not found')
    const check = (item: BatchItem) => ({
      valid:
        kind === 'signature'
          ? signatureHolds(key, item, given, urlAlgorithm)
          : hmacHolds(key, item, given, urlAlgorithm),
    })
    if (batch === undefined) return { data: check(items[0]!) }
    return { data: { batch_results: batchResults(items, check).results } }
  }

  return [
    path('verify/:name', {
      help: 'Verifies a signature or an HMAC of base64 input.',
      fields: signatureFields,
      operations: { update: (request) => answer(request.params.name, request.data, request.field) },
    }),
    path('verify/:name/:algorithm', {
      help: 'Verifies a signature or an HMAC of base64 input, hashed with the algorithm in the path.',
      fields: signatureFields,
      operations: {
        update: (request) => answer(request.params.name, request.data, request.field, request.params.algorithm),
      },
    }),
  ]
}

function kindOf(items: readonly BatchItem[], batch: boolean): 'signature' | 'hmac' {
  const [first] = items
  const kind = first?.signature ? 'signature' : first?.hmac ? 'hmac' : undefined
  if (kind === undefined) return refuse("neither a 'signature' nor an 'hmac' were given to verify")
  if (batch && items.some((item) => !item[kind])) refuse(`some elements of batch_input are missing '${kind}'`)
  return kind
}

function signatureHolds(
  key: TransitKey,
  item: BatchItem,
  given: SignatureFields,
  urlAlgorithm: string | undefined,
): boolean {
  const { type } = key.settings
  const input = decodeBase64(item.value ?? '', 'unable to decode input as base64: ')
  const context = contextFor(key, item.context === undefined ? undefined : decodeBase64(item.context))
  const { version: number, payload } = parseVersionedText(item.signature!, 'signature')
  const version = versionThatMade(key, number, 'signature')
  return verify(type, version, input, payload, signatureOptions(type, given, urlAlgorithm, context))
}

function hmacHolds(
  key: TransitKey,
  item: BatchItem,
  given: SignatureFields,
  urlAlgorithm: string | undefined,
): boolean {
  const input = decodeBase64(item.value ?? '', 'unable to decode input as base64: ')
  const text = item.hmac!
  if (!text.startsWith('vault:v')) refuse('invalid HMAC to verify: no prefix')
  const { version: number, payload } = parseVersionedText(text, 'HMAC')
  const expected = decodeBase64(payload, 'unable to decode verification string as base64: ')
  const version = versionThatMade(key, number, 'HMAC')
  const algorithm = urlAlgorithm ?? (given.hash_algorithm || given.algorithm || defaultHash)
  const actual = hmacOf(version, algorithm, input)
  return actual.length === expected.length && timingSafeEqual(actual, expected)
}
