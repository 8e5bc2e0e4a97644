import { checkedName, field, keyList, type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { keyAnswer } from './key-answer.ts'
import type { KeyStore } from './key-store.ts'
import { keyTypeOf, supports } from './key-type.ts'
import { refuse } from './transit-key.ts'

export function keyPaths(keys: KeyStore): Path[] {
  return [
    path('keys', {
      help: 'Lists the keys.',
      operations: { list: async () => keyList(await keys.names()) },
    }),
    path('keys/:name', {
      help: 'Creates, shows or deletes a key. Creating one that is there shows it.',
      fields: {
        type: field.string({ default: 'aes256-gcm96', description: 'Type of the key.' }),
        derived: field.bool({ default: false, description: 'Derive a key per request from its context.' }),
        convergent_encryption: field.bool({ default: false, description: 'Equal plaintexts give equal ciphertexts.' }),
        exportable: field.bool({ default: false, description: 'Allow export. Cannot be taken back.' }),
        allow_plaintext_backup: field.bool({ default: false, description: 'Allow backup. Cannot be taken back.' }),
        auto_rotate_period: field.duration({ default: 0, description: 'Rotate at this age; 0 = never.' }),
        key_size: field.int({ default: 0, description: 'Bytes, for hmac keys: 32 to 512.' }),
        context: field.string({ description: 'Base64; shows the public keys of a derived key.' }),
      },
      operations: {
        async read(request) {
          const key = await keys.get(request.params.name)
          const { context } = request.field
          return key && keyAnswer(key, context === undefined ? undefined : decodeBase64(context))
        },
        async update(request) {
          const { derived, convergent_encryption, exportable, allow_plaintext_backup, key_size } = request.field
          const name = checkedName(request.params.name)
          checkRotationPeriod(request.field.auto_rotate_period)
          if (convergent_encryption && !derived) refuse('convergent encryption requires derivation to be enabled')
          const type = keyTypeOf(request.field.type)
          const existing = await keys.get(name)
          if (existing !== undefined) return keyAnswer(existing)
          if (type === 'hmac') {
            if (key_size === 0) refuse('invalid key size for HMAC key, must be between 32 and 512 bytes')
            if (key_size < 32 || key_size > 512) refuse(`invalid key_size ${key_size}`)
          } else if (key_size !== 0) refuse(`key_size is not valid for algorithm ${type}`)
          if (derived && !supports(type).derivation) {
            refuse(`key derivation and convergent encryption not supported for keys of type ${type}`)
          }
          if (convergent_encryption && !supports(type).encryption) {
            refuse(`convergent encryption not supported for keys of type ${type}`)
          }
          const key = await keys.create({
            name,
            type,
            keySize: key_size,
            derived,
            convergent: convergent_encryption,
            exportable,
            plaintextBackup: allow_plaintext_backup,
            autoRotatePeriod: request.field.auto_rotate_period,
          })
          return keyAnswer(key)
        },
        async delete(request) {
          await keys.delete(request.params.name)
          return undefined
        },
      },
    }),
    path('keys/:name/rotate', {
      help: 'Adds a version, which becomes the one that encrypts.',
      operations: { update: async (request) => keyAnswer(await keys.rotate(request.params.name)) },
    }),
  ]
}

export function checkRotationPeriod(seconds: number): void {
  if (seconds !== 0 && seconds < 3600) refuse('auto rotate period must be 0 to disable or at least an hour')
}
