/** The auto seal whose key is in the transit engine of another Vault-compatible server, and never leaves it. */
import { type AutoSeal, SealError } from '@lockstep/seal'
import { ASSOCIATED_DATA, ciphertextOf, decodeEnvelope, encodeEnvelope } from './envelope.ts'
import { keepTokenAlive, type RenewalOptions } from './token-renewal.ts'
import { type TlsOptions, type VaultAnswer, vaultConnection } from './vault-connection.ts'

/** Fields never hold the token, a plaintext or a ciphertext. */
export interface SealLog {
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
}

export interface TransitSealOptions {
  /** URL of the server, for instance `https://vault.example:8200`. */
  address: string
  /** A token that may update `<mount>/encrypt/<key>` and `<mount>/decrypt/<key>`. A function is asked before every call. */
  token: string | (() => string | Promise<string>)
  /** Name of the transit key. */
  keyName: string
  /** Where transit is mounted. Default `transit`. */
  mountPath?: string
  /** Default: the root namespace. */
  namespace?: string
  /** The token is kept alive by somebody else. Default false. */
  disableRenewal?: boolean
  tls?: TlsOptions
  /** Of one call, ms. Default 20,000. */
  timeoutMs?: number
  /** Default: nothing is logged. */
  log?: SealLog
  /** Default: 5 s after a failure, doubled up to 5 minutes. */
  renewal?: RenewalOptions
}

export interface TransitSeal extends AutoSeal {
  /** Ends its calls and the renewal of the token, which is not revoked. */
  close(): void
}

const MAX_PLAINTEXT_BYTES = 64 * 1024

/** Asks the server for nothing yet. Throws `SEAL_INVALID_CONFIG` for an address, key name or mount that cannot be one. */
export function transitSeal(options: TransitSealOptions): TransitSeal {
  const { keyName, namespace = '', log = { info() {}, warn() {} } } = options
  const mount = (options.mountPath ?? 'transit').replace(/^\/+|\/+$/g, '')
  checkAddress(options.address, log)
  if (!/^[\w.-]{1,256}$/.test(keyName) || /^\.+$/.test(keyName)) {
    throw new SealError('SEAL_INVALID_CONFIG', 'the name of the transit key must be letters, digits, ".", "-" and "_"')
  }
  if (!isPath(mount)) throw new SealError('SEAL_INVALID_CONFIG', 'the mount path of transit must be a path')
  if (namespace !== '' && !isPath(namespace.replace(/^\/+|\/+$/g, ''))) {
    throw new SealError('SEAL_INVALID_CONFIG', 'the namespace of transit must be a path')
  }

  if (options.tls?.skipVerify === true) {
    log.warn('the certificate of the transit server is not checked: the token may go to anyone', { key: keyName })
  }

  const { token } = options
  const connection = vaultConnection({
    address: options.address,
    token: typeof token === 'function' ? token : () => token,
    namespace,
    tls: options.tls ?? {},
    timeoutMs: options.timeoutMs ?? 20_000,
  })
  const closed = new AbortController()
  let keyVersion: number | undefined
  /** Keys that are not authenticated ciphers take none. */
  let bindable = true
  if (options.disableRenewal !== true) {
    void keepTokenAlive(connection, log, closed.signal, options.renewal ?? { retryMs: 5000, longestMs: 300_000 })
  }

  const idOf = (version: number): string => `${keyName}:v${version}`
  const associated = (bound: boolean) => (bound ? { associated_data: ASSOCIATED_DATA.toString('base64') } : {})
  function checkOpen(): void {
    if (closed.signal.aborted) throw new SealError('SEAL_UNAVAILABLE', 'the transit seal is closed')
  }

  async function encrypt(plaintext: Uint8Array, bound: boolean): Promise<Uint8Array> {
    const text = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength).toString('base64')
    const answer = await connection.call('PUT', `${mount}/encrypt/${keyName}`, {
      plaintext: text,
      ...associated(bound),
    })
    if (answer.status === 200) return encodeEnvelope(dataOf(answer).ciphertext, bound)
    if (bound && answer.status === 400 && /non-AEAD/i.test(errorText(answer))) {
      bindable = false
      log.warn('the transit key takes no associated data, its envelopes are not bound to their use', { key: keyName })
      return encrypt(plaintext, false)
    }
    throw refusal(answer, 'encrypt')
  }

  return {
    type: 'transit',
    get keyId() {
      return keyVersion === undefined ? keyName : idOf(keyVersion)
    },
    async encrypt(plaintext) {
      checkOpen()
      if (plaintext.length > MAX_PLAINTEXT_BYTES) {
        throw new SealError('SEAL_INVALID_CONFIG', `a seal encrypts keys, not more than ${MAX_PLAINTEXT_BYTES} bytes`)
      }
      const envelope = await encrypt(plaintext, bindable)
      const made = decodeEnvelope(envelope).keyVersion
      if (keyVersion !== undefined && made !== keyVersion) {
        log.info('the key of the transit seal was rotated', { key: keyName, version: made })
      }
      keyVersion = made
      return envelope
    },
    async decrypt(bytes) {
      checkOpen()
      const envelope = decodeEnvelope(bytes)
      const body = { ciphertext: ciphertextOf(envelope), ...associated(envelope.bound) }
      const answer = await connection.call('PUT', `${mount}/decrypt/${keyName}`, body)
      if (answer.status !== 200) throw refusal(answer, 'decrypt')
      keyVersion ??= envelope.keyVersion
      const { plaintext } = dataOf(answer)
      const decoded = typeof plaintext === 'string' ? Buffer.from(plaintext, 'base64') : undefined
      if (decoded === undefined || decoded.toString('base64') !== plaintext) {
        throw new SealError('SEAL_UNAVAILABLE', 'the answer of the transit server holds no plaintext')
      }
      const copy = new Uint8Array(decoded)
      decoded.fill(0)
      return copy
    },
    keyIdOf: (bytes) => idOf(decodeEnvelope(bytes).keyVersion),
    close() {
      closed.abort()
      connection.close()
    },
  }
}

function checkAddress(address: string, log: SealLog): void {
  let url: URL
  try {
    url = new URL(address)
  } catch {
    throw new SealError('SEAL_INVALID_CONFIG', 'the address of the transit server must be a URL')
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new SealError('SEAL_INVALID_CONFIG', 'the address of the transit server must begin with https:// or http://')
  }
  if (url.username !== '' || url.password !== '') {
    throw new SealError('SEAL_INVALID_CONFIG', 'the address of the transit server must hold no credentials')
  }
  if (url.protocol === 'http:' && !/^(?:localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname)) {
    log.warn('the token of the transit seal travels unencrypted: use https', { address: url.origin })
  }
}

function isPath(path: string): boolean {
  return path.length <= 1024 && path.split('/').every((part) => /^[\w.~@+:-]+$/.test(part) && !/^\.+$/.test(part))
}

function dataOf({ body }: VaultAnswer): Record<string, unknown> {
  const { data } = body
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {}
}

function errorText({ body }: VaultAnswer): string {
  const { errors } = body
  return Array.isArray(errors) ? errors.filter((error) => typeof error === 'string').join('; ') : ''
}

const DAMAGED = /invalid ciphertext|authentication failed|decrypt|non-AEAD|ciphertext.*version|version.*too/i
/** Everything else says what it is by its status; what servers write in answers goes into no error. */
const REASONS: Record<number, string> = {
  400: 'it refuses the request',
  403: 'permission denied: the token is not valid, or its policies do not allow it',
  404: 'there is no transit engine at that mount path',
  412: 'the node is behind its primary',
  429: 'too many requests, or a standby node',
  472: 'it is a disaster recovery secondary',
  501: 'it is not initialized',
  503: 'it is sealed or in maintenance',
}

function refusal(answer: VaultAnswer, operation: 'encrypt' | 'decrypt'): SealError {
  const text = errorText(answer)
  if (answer.status === 400 && /key not found|no such key|policy not found|does not exist/i.test(text)) {
    return new SealError('SEAL_UNKNOWN_KEY', 'the transit server does not have the key')
  }
  if (operation === 'decrypt' && answer.status === 400 && DAMAGED.test(text)) {
    return new SealError('SEAL_DECRYPTION_FAILED', 'the envelope cannot be decrypted')
  }
  const reason = REASONS[answer.status] ?? 'no reason known'
  return new SealError(
    'SEAL_UNAVAILABLE',
    `the transit server answered ${operation} with status ${answer.status}: ${reason}`,
  )
}
