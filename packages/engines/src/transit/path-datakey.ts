import { randomBytes } from 'node:crypto'
import { field, type Path, path } from '@lockstep/backend'
import { decodeBase64 } from './base64.ts'
import { encrypt } from './encryption.ts'
import type { KeyStore } from './key-store.ts'
import { refuse } from './transit-key.ts'

export function datakeyPath(keys: KeyStore): Path {
  return path('datakey/:form/:name', {
    help: 'A new random data key, encrypted ("wrapped") and with "plaintext" also in the clear.',
    fields: {
      bits: field.int({ default: 256, description: '128, 256 or 512.' }),
      context: field.string({ description: 'Base64, for derived keys.' }),
      key_version: field.int({ default: 0, description: 'Default: the latest.' }),
    },
    operations: {
      async update(request) {
        const { form, name } = request.params
        if (form !== 'plaintext' && form !== 'wrapped') refuse("Invalid path, must be 'plaintext' or 'wrapped'")
        const { bits, context, key_version } = request.field
        if (bits !== 128 && bits !== 256 && bits !== 512) refuse('invalid bit length')
        const key = (await keys.get(name)) ?? refuse('encryption key not found')
        const dataKey = randomBytes(bits / 8)
        const sealed = encrypt(key, dataKey, {
          context: context === undefined ? undefined : decodeBase64(context),
          associatedData: undefined,
          keyVersion: key_version,
        })
        const data: Record<string, unknown> = { ciphertext: sealed.text, key_version: sealed.version }
        if (form === 'plaintext') data.plaintext = dataKey.toString('base64')
        dataKey.fill(0)
        return { data }
      },
    },
  })
}
