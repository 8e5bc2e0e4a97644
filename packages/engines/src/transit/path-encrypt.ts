import { checkedName, field, type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { type BatchItem, batchItem, batchItems, batchResponse, batchResults } from './batch.ts'
import { encrypt } from './encryption.ts'
import type { KeyStore } from './key-store.ts'
import { keyTypeOf, supports } from './key-type.ts'
import type { TransitSettings } from './path-settings.ts'
import { refuse, type TransitKey } from './transit-key.ts'

const fields = {
  batch_input: field.list({ description: 'Several items instead of one.' }),
  type: field.string({ default: 'aes256-gcm96', description: 'Type of the key if it must be created.' }),
  convergent_encryption: field.bool({ default: false, description: 'Likewise: whether encryption is convergent.' }),
  partial_failure_response_code: field.int({ default: 0, description: 'HTTP status when only some items fail.' }),
}

export function encryptPath(keys: KeyStore, settings: TransitSettings): Path {
  return path('encrypt/:name', {
    help: 'Encrypts base64 plaintext; creates the key if it is missing.',
    fields,
    exists: async (request) => (await keys.get(request.params.name)) !== undefined,
    operations: {
      async update(request) {
        const batch = request.field.batch_input
        const items = batch === undefined ? [batchItem(request.data, 'plaintext')] : batchItems(batch, 'plaintext')
        for (const [index, item] of items.entries()) {
          if (item.value !== undefined) continue
          const missing = 'missing plaintext to encrypt'
          refuse(batch === undefined ? missing : `failed to parse batch input: '[${index}].plaintext' ${missing}`)
        }
        const withContext = items.filter((item) => item.context !== undefined && item.context !== '').length
        if (withContext !== 0 && withContext !== items.length) {
          refuse('context should be set either in all the request blocks or in none')
        }
        const key =
          (await keys.get(request.params.name)) ??
          (await upsert(request.params.name, request.field.type, withContext > 0, request.field.convergent_encryption))

        if (batch === undefined) return { data: encryptItem(key, items[0]!) }
        const outcome = batchResults(items, (item) => encryptItem(key, item))
        return batchResponse(outcome, request.field.partial_failure_response_code)
      },
    },
  })

  async function upsert(name: string, typeName: string, derived: boolean, convergent: boolean): Promise<TransitKey> {
    if (await settings.upsertDisabled()) refuse('encryption key not found')
    const type = keyTypeOf(typeName)
    if (!supports(type).encryption || !supports(type).derivation) refuse(`unknown key type ${typeName}`)
    if (convergent && !derived) {
      refuse('convergent encryption requires derivation to be enabled, so context is required')
    }
    return keys.create({
      name: checkedName(name),
      type,
      keySize: 0,
      derived,
      convergent,
      exportable: false,
      plaintextBackup: false,
      autoRotatePeriod: 0,
    })
  }
}

function encryptItem(key: TransitKey, item: BatchItem): Record<string, unknown> {
  if (item.nonce !== undefined && item.nonce !== '') refuse('provided nonce not allowed for this key')
  const { text, version } = encrypt(key, decodeBase64(item.value!), {
    ...cipherInput(item),
    keyVersion: item.keyVersion,
  })
  return { ciphertext: text, key_version: version }
}

export function cipherInput(item: BatchItem) {
  return {
    context: item.context === undefined ? undefined : decodeBase64(item.context),
    associatedData: item.associatedData === undefined ? undefined : decodeBase64(item.associatedData),
  }
}
