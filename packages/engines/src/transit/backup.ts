/**
 * Vault's backup format: base64 of JSON `{ policy, archived_keys: { keys: [unused, version 1, …] } }`. Integers of RSA and ECDSA keys are
 * decimal, of any size.
 */
import { createPrivateKey, createPublicKey, type JsonWebKey } from 'node:crypto'
import { isInteger, LosslessNumber, parse, stringify } from 'lossless-json'
import { type KeyType, keyTypes, publicKeyText, traitsOf } from './key-type.ts'
import { type KeySecrets, keyVersion } from './key-version.ts'
import { type KeySettings, refuse } from './transit-key.ts'

export interface Backup {
  settings: KeySettings
  versions: Map<number, KeySecrets>
}

/** Only what we read of Vault's record; it has more. */
interface BackupVersion {
  key: string | null
  hmac_key: string | null
  time: string
  ec_x: bigint | null
  ec_y: bigint | null
  ec_d: bigint | null
  rsa_key: { N: bigint; E: bigint; D: bigint; Primes: bigint[] } | null
  public_key: string
  convergent_version: bigint | number
  creation_time: bigint | number
}

export function encodeBackup({ settings, versions }: Backup, now: number): string {
  const all = [...versions].map(([number, secrets]) => [number, backupVersion(settings, number, secrets)] as const)
  const archive = Array.from({ length: settings.latest + 1 }, () => emptyVersion)
  for (const [number, version] of all) archive[number - settings.minAvailable] = version
  const usable = all.filter(([number]) => number >= settings.minDecryption)
  const policy = {
    name: settings.name,
    ...(settings.keySize > 0 && { key_size: settings.keySize }),
    keys: Object.fromEntries(usable),
    derived: settings.derived,
    kdf: settings.derived ? 1 : 0,
    convergent_encryption: settings.convergent,
    exportable: settings.exportable,
    min_decryption_version: settings.minDecryption,
    min_encryption_version: settings.minEncryption,
    latest_version: settings.latest,
    archive_version: settings.latest,
    archive_min_version: settings.minAvailable,
    min_available_version: settings.minAvailable,
    deletion_allowed: settings.deletionAllowed,
    convergent_version: settings.convergent ? -1 : 0,
    type: traitsOf(settings.type).backupNumber,
    backup_info: { time: new Date(now).toISOString(), version: settings.latest },
    restore_info: settings.restore ?? null,
    allow_plaintext_backup: settings.plaintextBackup,
    version_template: '',
    storage_prefix: '',
    // Vault counts this one in nanoseconds.
    auto_rotate_period: BigInt(settings.autoRotatePeriod) * 1_000_000_000n,
    Imported: false,
    AllowImportedKeyRotation: false,
  }
  const length = settings.latest - settings.minAvailable + 1
  const text = stringify({ policy, archived_keys: { keys: archive.slice(0, length) } })
  return Buffer.from(`${text}\n`).toString('base64')
}

/** @throws BackendError when the text is no backup this engine can use */
export function decodeBackup(text: string, name: string | undefined, now: number): Backup {
  const { policy, archived_keys } = parsed(text)
  const type = keyTypeNumbered(policy.type)
  const latest = integer(policy.latest_version)
  const minAvailable = integer(policy.min_available_version)
  const minDecryption = Math.max(1, integer(policy.min_decryption_version))
  const minEncryption = integer(policy.min_encryption_version)
  if (minAvailable > minDecryption || minDecryption > latest || minEncryption > latest) {
    refuse('backup has a version out of range')
  }
  const settings: KeySettings = {
    name: name ?? String(policy.name),
    type,
    keySize: type === 'hmac' ? integer(policy.key_size) : 0,
    derived: policy.derived === true,
    convergent: policy.convergent_encryption === true,
    exportable: policy.exportable === true,
    plaintextBackup: policy.allow_plaintext_backup === true,
    autoRotatePeriod: Number(BigInt(String(policy.auto_rotate_period ?? 0)) / 1_000_000_000n),
    deletionAllowed: policy.deletion_allowed === true,
    latest,
    minDecryption,
    minEncryption,
    minAvailable,
    ...(policy.backup_info ? { backup: info(policy.backup_info as Record<string, unknown>) } : {}),
    restore: { time: new Date(now).toISOString(), version: latest },
  }
  const archive = (archived_keys as { keys?: BackupVersion[] } | undefined)?.keys ?? []
  const inPolicy = (policy.keys ?? {}) as Record<string, BackupVersion>
  const versions = new Map<number, KeySecrets>()
  for (let number = Math.max(1, minAvailable); number <= latest; number++) {
    const version = inPolicy[number] ?? archive[number - minAvailable]
    if (version === undefined) refuse(`backup has no version ${number}`)
    if (settings.convergent && Number(version.convergent_version) !== 3) {
      refuse('backup has a key of an old convergent version')
    }
    versions.set(number, secretsOf(type, version))
  }
  return { settings, versions }
}

const maxBackupLength = 16 * 2 ** 20
const maxVersions = 100_000

function parsed(text: string): { policy: Record<string, unknown>; archived_keys: unknown } {
  if (text.length > maxBackupLength) refuse('backup is too large')
  let value: unknown
  try {
    value = parse(Buffer.from(text, 'base64').toString(), undefined, exactInteger)
  } catch {
    value = undefined
  }
  const backup = value as { policy?: Record<string, unknown>; archived_keys?: unknown } | undefined
  if (typeof backup?.policy !== 'object' || backup.policy === null) return refuse('backup is not a transit key backup')
  return { policy: backup.policy, archived_keys: backup.archived_keys }
}

function exactInteger(text: string): number | bigint | LosslessNumber {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value
  return isInteger(text) ? BigInt(text) : new LosslessNumber(text)
}

function keyTypeNumbered(number: unknown): KeyType {
  // OpenBao numbers hmac 10, Vault 11; Vault's 10, managed keys, cannot be backed up.
  if (number === 10) return 'hmac'
  return keyTypes.find((type) => traitsOf(type).backupNumber === number) ?? refuse(`unknown key type ${number}`)
}

function integer(value: unknown): number {
  const number = Number(value ?? 0)
  if (!Number.isInteger(number) || number < 0 || number > maxVersions) refuse('backup has a version out of range')
  return number
}

function info(value: Record<string, unknown>): { time: string; version: number } {
  return { time: String(value.time), version: integer(value.version) }
}

function backupVersion(settings: KeySettings, number: number, secrets: KeySecrets) {
  const { type } = settings
  const { aead, rsaBits, curve, ed25519 } = traitsOf(type)
  const version = keyVersion(type, number, secrets)
  const shared = {
    ...emptyVersion,
    hmac_key: secrets.hmacKey.toString('base64'),
    time: new Date(secrets.created).toISOString(),
    creation_time: Math.floor(secrets.created / 1000),
    convergent_version: settings.convergent ? 3 : 0,
  }
  if (aead !== undefined || type === 'hmac') return { ...shared, key: secrets.secret.toString('base64') }
  const publicKey = publicKeyText(version.privateKey())
  if (ed25519) {
    return { ...shared, key: secrets.secret.toString('base64'), public_key: settings.derived ? '' : publicKey }
  }
  const jwk = version.privateKey().export({ format: 'jwk' })
  if (curve !== undefined) {
    return { ...shared, ec_x: big(jwk.x), ec_y: big(jwk.y), ec_d: big(jwk.d), public_key: publicKey }
  }
  if (rsaBits === undefined) return shared
  return { ...shared, rsa_key: { N: big(jwk.n), E: big(jwk.e), D: big(jwk.d), Primes: [big(jwk.p), big(jwk.q)] } }
}

const emptyVersion = {
  key: null as string | null,
  hmac_key: null as string | null,
  time: '0001-01-01T00:00:00Z',
  ec_x: null as bigint | null,
  ec_y: null as bigint | null,
  ec_d: null as bigint | null,
  rsa_key: null as { N: bigint; E: bigint; D: bigint; Primes: bigint[] } | null,
  rsa_public_key: null,
  public_key: '',
  convergent_version: 0,
  creation_time: 0,
  certificate_chain: null,
}

function secretsOf(type: KeyType, version: BackupVersion): KeySecrets {
  const { aead, rsaBits, curve, ed25519 } = traitsOf(type)
  const raw = Buffer.from(version.key ?? '', 'base64')
  const hmacKey = version.hmac_key === null ? raw : Buffer.from(version.hmac_key, 'base64')
  const created = Date.parse(version.time)
  if (Number.isNaN(created)) refuse('backup has a key without a time')
  let secret: Buffer = raw
  if (curve !== undefined) secret = pkcs8(ecJwk(curve, version))
  else if (rsaBits !== undefined) secret = pkcs8(rsaJwk(version))
  const expected = aead?.keyLength ?? (ed25519 ? 64 : undefined)
  if (secret.length === 0 || (expected !== undefined && secret.length !== expected)) {
    refuse('backup has a key of the wrong length')
  }
  return { created, secret, hmacKey }
}

function ecJwk(curve: { jwk: string; scalarLength: number }, version: BackupVersion): JsonWebKey {
  const part = (value: bigint | number | null) => base64Url(value, curve.scalarLength)
  return { kty: 'EC', crv: curve.jwk, x: part(version.ec_x), y: part(version.ec_y), d: part(version.ec_d) }
}

function rsaJwk({ rsa_key }: BackupVersion): JsonWebKey {
  if (rsa_key === null) return refuse('backup has no private key')
  const [n, e, d] = [BigInt(rsa_key.N), BigInt(rsa_key.E), BigInt(rsa_key.D)]
  const [p, q] = [BigInt(rsa_key.Primes[0] ?? 0), BigInt(rsa_key.Primes[1] ?? 0)]
  if (rsa_key.Primes.length !== 2 || p * q !== n || p < 3n || q < 3n) refuse('backup has an inconsistent RSA key')
  const parts = { n, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) }
  return { kty: 'RSA', ...Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, base64Url(value)])) }
}

function pkcs8(jwk: JsonWebKey): Buffer {
  try {
    const key = createPrivateKey({ key: jwk, format: 'jwk' })
    // Also parses the public half, so that a broken key is found now.
    createPublicKey(key)
    return key.export({ type: 'pkcs8', format: 'der' })
  } catch {
    return refuse('backup has a key that cannot be parsed')
  }
}

function big(text: string | undefined): bigint {
  return BigInt(`0x${Buffer.from(text!, 'base64url').toString('hex')}`)
}

function base64Url(value: bigint | number | null, length = 0): string {
  if (value === null) return refuse('backup has no private key')
  const hex = BigInt(value).toString(16)
  return Buffer.from(hex.padStart(Math.max(2 * length, hex.length + (hex.length % 2)), '0'), 'hex').toString(
    'base64url',
  )
}

/** Extended Euclid. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b] = [value % modulus, modulus]
  let [x, y] = [1n, 0n]
  while (b !== 0n) {
    const quotient = a / b
    ;[a, b] = [b, a % b]
    ;[x, y] = [y, x - quotient * y]
  }
  return ((x % modulus) + modulus) % modulus
}
