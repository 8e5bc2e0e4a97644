import { type Path, path } from '@lockstep/backend'
import type { KeyStore } from './key-store.ts'
import { type KeyType, publicKeyText, supports, traitsOf } from './key-type.ts'
import type { KeyVersion } from './key-version.ts'
import { refuse, type TransitKey } from './transit-key.ts'

const exportTypes = ['encryption-key', 'signing-key', 'hmac-key', 'public-key'] as const
type ExportType = (typeof exportTypes)[number]

export function exportPaths(keys: KeyStore): Path[] {
  async function answer(type: string, name: string, version: string | undefined) {
    if (!isExportType(type)) return refuse(`invalid export type: ${type}`)
    const key = await keys.get(name)
    if (key === undefined) return undefined
    if (type !== 'public-key' && !key.settings.exportable) refuse('private key material is not exportable')
    const shown: Record<string, string> = {}
    for (const each of chosen(key, version)) shown[each.number] = exported(key.settings.type, type, each)
    return { data: { name, type: key.settings.type, keys: shown } }
  }

  return [
    path('export/:type/:name', {
      help: 'The key material of all usable versions, if the key is exportable.',
      operations: { read: ({ params }) => answer(params.type, params.name, undefined) },
    }),
    path('export/:type/:name/:version', {
      help: 'The key material of one version ("latest" or a number), if the key is exportable.',
      operations: { read: ({ params }) => answer(params.type, params.name, params.version) },
    }),
  ]
}

function isExportType(type: string): type is ExportType {
  return (exportTypes as readonly string[]).includes(type)
}

function chosen(key: TransitKey, version: string | undefined): Iterable<KeyVersion> {
  if (version === undefined) return key.versions.values()
  if (version !== 'latest' && !/^[0-9]{1,9}$/.test(version)) refuse('invalid key version')
  const number = version === 'latest' ? key.settings.latest : Number(version)
  if (number < key.settings.minDecryption && number > 0) {
    refuse('version for export is below minimum decryption version')
  }
  return [key.versions.get(number) ?? refuse('version does not exist or cannot be found')]
}

function exported(keyType: KeyType, type: ExportType, version: KeyVersion): string {
  const can = supports(keyType)
  if (type === 'hmac-key') return version.hmacKey.toString('base64')
  if (type === 'encryption-key' && !can.encryption) refuse('encryption not supported for the key')
  if (type === 'signing-key' && !can.signing) refuse('signing not supported for the key')
  if (type === 'public-key') {
    if (!can.signing) refuse(`unknown key type ${keyType} for export type public-key`)
    // Vault ends PEM of RSA keys with a line break, that of ECDSA keys not.
    const text = publicKeyText(version.privateKey())
    return traitsOf(keyType).curve === undefined ? text : text.trimEnd()
  }
  return privateKeyText(keyType, version)
}

function privateKeyText(type: KeyType, version: KeyVersion): string {
  const { rsaBits, curve } = traitsOf(type)
  if (rsaBits === undefined && curve === undefined) return version.secret.toString('base64')
  const key = version.privateKey()
  if (rsaBits !== undefined) return key.export({ type: 'pkcs1', format: 'pem' }).toString()
  return key.export({ type: 'sec1', format: 'pem' }).toString().trimEnd()
}
