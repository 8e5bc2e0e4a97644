import { field, type Path, path } from '@lockstep/backend'
import { keyAnswer } from './key-answer.ts'
import { type KeyStore, versionKey } from './key-store.ts'
import { checkRotationPeriod } from './path-keys.ts'
import { type KeySettings, refuse } from './transit-key.ts'

export function keyConfigPaths(keys: KeyStore): Path[] {
  return [
    path('keys/:name/config', {
      help: 'Changes what a key allows.',
      fields: {
        min_decryption_version: field.int({ description: 'Lowest version that may decrypt and verify.' }),
        min_encryption_version: field.int({ description: 'Lowest version that may encrypt and sign; 0 = no limit.' }),
        deletion_allowed: field.bool({ description: 'Whether the key may be deleted.' }),
        exportable: field.bool({ description: 'Allow export. Cannot be taken back.' }),
        allow_plaintext_backup: field.bool({ description: 'Allow backup. Cannot be taken back.' }),
        auto_rotate_period: field.duration({ description: 'Rotate at this age; 0 = never.' }),
      },
      operations: {
        async update(request) {
          const { name } = request.params
          const given = request.field
          const warnings: string[] = []
          const key = await keys.update(name, `no existing key named ${name} could be found`, (settings) => {
            warnings.length = 0
            if (given.min_decryption_version !== undefined) {
              settings.minDecryption = minDecryption(settings, given.min_decryption_version, warnings)
            }
            if (given.min_encryption_version !== undefined) {
              settings.minEncryption = minEncryption(settings, given.min_encryption_version)
            }
            if (settings.minEncryption !== 0 && settings.minEncryption < settings.minDecryption) {
              refuse(
                `cannot set min encryption/decryption values; min encryption version of ${settings.minEncryption} ` +
                  `must be greater than or equal to min decryption version of ${settings.minDecryption}`,
              )
            }
            if (given.auto_rotate_period !== undefined) {
              checkRotationPeriod(given.auto_rotate_period)
              settings.autoRotatePeriod = given.auto_rotate_period
            }
            settings.deletionAllowed = given.deletion_allowed ?? settings.deletionAllowed
            settings.exportable ||= given.exportable ?? false
            settings.plaintextBackup ||= given.allow_plaintext_backup ?? false
          })
          return { ...keyAnswer(key), ...(warnings.length > 0 && { warnings }) }
        },
      },
    }),
    path('keys/:name/trim', {
      help: 'Destroys versions below a minimum for good.',
      fields: { min_available_version: field.int({ description: 'Lowest version to keep.' }) },
      operations: {
        async update(request) {
          const { name } = request.params
          const minimum = request.field.min_available_version ?? refuse('missing min_available_version')
          const key = await keys.update(name, 'invalid key name', async (settings, transaction) => {
            checkMinAvailable(settings, minimum)
            for (let number = Math.max(1, settings.minAvailable); number < minimum; number++) {
              await transaction.delete(versionKey(name, number))
            }
            settings.minAvailable = minimum
          })
          return keyAnswer(key)
        },
      },
    }),
  ]
}

function minDecryption(settings: KeySettings, version: number, warnings: string[]): number {
  if (version < 0) refuse('min decryption version cannot be negative')
  if (version > settings.latest) {
    refuse(`cannot set min decryption version of ${version}, latest key version is ${settings.latest}`)
  }
  if (version === 0) warnings.push('since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1')
  const forced = version || 1
  if (forced < settings.minAvailable) refuse('min decryption version should not be less then min available version')
  return forced
}

function minEncryption(settings: KeySettings, version: number): number {
  if (version < 0) refuse('min encryption version cannot be negative')
  if (version > settings.latest) {
    refuse(`cannot set min encryption version of ${version}, latest key version is ${settings.latest}`)
  }
  if (version < settings.minAvailable) refuse('min encryption version should not be less than min available version')
  return version
}

function checkMinAvailable(settings: KeySettings, version: number): void {
  if (version < settings.minAvailable) refuse('minimum available version cannot be decremented')
  if (settings.minEncryption === 0) {
    refuse('minimum available version cannot be set when minimum encryption version is not set')
  }
  if (version > settings.minEncryption) {
    refuse('minimum available version cannot be greater than minmum encryption version')
  }
  if (version > settings.minDecryption) {
    refuse('minimum available version cannot be greater than minimum decryption version')
  }
  if (version < 0) refuse('minimum available version cannot be negative')
}
