import { type FieldValues, field } from '@lockstep/backend'
import { hashAlgorithm } from './hash-algorithm.ts'
import { type KeyType, traitsOf } from './key-type.ts'
import type { SignatureOptions } from './signature.ts'
import { refuse } from './transit-key.ts'

/** What `sign` and `verify` understand besides the items. */
export const signatureFields = {
  batch_input: field.list({ description: 'Several items instead of one.' }),
  hash_algorithm: field.string({ description: 'sha1, sha2-…, sha3-… or none. Default sha2-256.' }),
  algorithm: field.string({ description: 'Older name of hash_algorithm.' }),
  prehashed: field.bool({ default: false, description: 'The input is already a digest.' }),
  signature_algorithm: field.string({ default: '', description: 'RSA: pss (default) or pkcs1v15.' }),
  marshaling_algorithm: field.string({ default: 'asn1', description: 'ECDSA: asn1 or jws.' }),
  salt_length: field.string({ default: 'auto', description: 'RSA-PSS: auto, hash, or a number of bytes.' }),
}

export type SignatureFields = FieldValues<typeof signatureFields>

export const defaultHash = 'sha2-256'

export function signatureOptions(
  type: KeyType,
  given: SignatureFields,
  urlAlgorithm: string | undefined,
  context: Buffer | undefined,
): SignatureOptions {
  const name = urlAlgorithm ?? (given.hash_algorithm || given.algorithm || defaultHash)
  const hash = hashAlgorithm(name)
  const scheme = given.signature_algorithm || 'pss'
  if (hash === undefined) {
    if (name !== 'none') refuse(`invalid hash algorithm ${JSON.stringify(name)}`)
    if (!given.prehashed || scheme !== 'pkcs1v15') {
      refuse('hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15')
    }
    if (traitsOf(type).rsaBits === undefined) refuse('hash_algorithm=none is for RSA keys only')
  }
  if (traitsOf(type).rsaBits !== undefined && scheme !== 'pss' && scheme !== 'pkcs1v15') {
    refuse(`unsupported rsa signature algorithm ${scheme}`)
  }
  const marshaling = given.marshaling_algorithm
  if (marshaling !== 'asn1' && marshaling !== 'jws') refuse(`invalid marshaling type ${JSON.stringify(marshaling)}`)
  return {
    hash,
    prehashed: given.prehashed,
    scheme: scheme === 'pkcs1v15' ? 'pkcs1v15' : 'pss',
    saltLength: saltLength(given.salt_length, hash?.length),
    marshaling,
    context,
  }
}

function saltLength(text: string, hashLength: number | undefined): number | undefined {
  if (text === 'auto' || text === '0') return undefined
  if (text === 'hash' || text === '-1') return hashLength
  if (!/^-?[0-9]+$/.test(text)) refuse(`salt length neither 'auto', 'hash', nor an int: ${text}`)
  const length = Number(text)
  if (length < 0 || length > 4096) refuse(`salt length is invalid: ${text}`)
  return length
}
