import { field, type Path, path } from '@lockstep/backend'
import { type BatchItem, batchItem, batchItems, batchResponse, batchResults } from './batch.ts'
import { decrypt, encrypt } from './encryption.ts'
import type { KeyStore } from './key-store.ts'
import { cipherInput } from './path-encrypt.ts'
import { refuse, type TransitKey } from './transit-key.ts'

const fields = {
  batch_input: field.list({ description: 'Several items instead of one.' }),
  partial_failure_response_code: field.int({ default: 0, description: 'HTTP status when only some items fail.' }),
}

export function decryptPath(keys: KeyStore): Path {
  return path('decrypt/:name', {
    help: 'Decrypts to base64 plaintext.',
    fields,
    operations: {
      async update(request) {
        const items = ciphertexts(request.data, request.field.batch_input)
        const key = (await keys.get(request.params.name)) ?? refuse('encryption key not found')
        if (request.field.batch_input === undefined) return { data: decryptItem(key, items[0]!) }
        const outcome = batchResults(items, (item) => decryptItem(key, item), { plaintext: '' })
        return batchResponse(outcome, request.field.partial_failure_response_code)
      },
    },
  })
}

export function rewrapPath(keys: KeyStore): Path {
  return path('rewrap/:name', {
    help: 'Encrypts a ciphertext anew with the latest key version, without showing the plaintext.',
    fields,
    operations: {
      async update(request) {
        const items = ciphertexts(request.data, request.field.batch_input)
        const key = (await keys.get(request.params.name)) ?? refuse('encryption key not found')
        if (request.field.batch_input === undefined) return { data: rewrapItem(key, items[0]!) }
        return { data: { batch_results: batchResults(items, (item) => rewrapItem(key, item)).results } }
      },
    },
  })
}

function ciphertexts(data: Readonly<Record<string, unknown>>, batch: unknown[] | undefined): BatchItem[] {
  const items = batch === undefined ? [batchItem(data, 'ciphertext')] : batchItems(batch, 'ciphertext')
  for (const [index, item] of items.entries()) {
    if (item.value !== undefined && item.value !== '') continue
    const missing = 'missing ciphertext to decrypt'
    refuse(batch === undefined ? missing : `failed to parse batch input: '[${index}].ciphertext' ${missing}`)
  }
  return items
}

function decryptItem(key: TransitKey, item: BatchItem): Record<string, unknown> {
  return { plaintext: decrypt(key, item.value!, cipherInput(item)).toString('base64') }
}

function rewrapItem(key: TransitKey, item: BatchItem): Record<string, unknown> {
  const input = cipherInput(item)
  const plaintext = decrypt(key, item.value!, input)
  const { text, version } = encrypt(key, plaintext, { ...input, keyVersion: item.keyVersion })
  plaintext.fill(0)
  return { ciphertext: text, key_version: version }
}
