/** From a seal's stanza to the seal. What only its provider can tell, it tells when it is asked: the server starts without. */
import { readFile } from 'node:fs/promises'
import type { Log } from '@lockstep/core'
import { type AutoSeal, SealError, staticKeySeal } from '@lockstep/seal'
import { transitSeal } from '@lockstep/seal-transit'
import type { AutoSealConfig, Pkcs11SealConfig, StaticSealConfig, TransitSealConfig } from './config/server-config.ts'
import { resolveSecret } from './secret-reference.ts'
import { reasonOf, StartupError } from './startup-error.ts'

const KEY_BYTES = 32

/** Undefined for Shamir. Rejects with `StartupError` naming the stanza and the field. */
export async function openSeal(
  config: AutoSealConfig | undefined,
  log: Log,
  /** The optional package. */
  loadPkcs11: () => Promise<typeof import('@lockstep/seal-pkcs11')> = () => import('@lockstep/seal-pkcs11'),
): Promise<AutoSeal | undefined> {
  if (config === undefined) return undefined
  const stanza = `seal "${config.type}"`
  try {
    switch (config.type) {
      case 'static':
        return await openStatic(stanza, config)
      case 'transit':
        return await openTransit(stanza, config, log)
      case 'pkcs11':
        return await openPkcs11(stanza, config, loadPkcs11)
    }
  } catch (error) {
    if (error instanceof SealError) throw new StartupError(`${stanza}: ${error.message}`, { cause: error })
    throw error
  }
}

/** Keys are given literally (hex or base64) or as `file://PATH` or `env://NAME`. */
async function openStatic(stanza: string, config: StaticSealConfig): Promise<AutoSeal> {
  const resolveKey = async (field: string, reference: string): Promise<Uint8Array> => {
    const bytes = decodeKey(await resolveSecret(`${stanza}: ${field}`, reference))
    if (bytes === undefined) throw new StartupError(`${stanza}: ${field}: expected ${KEY_BYTES} bytes as hex or base64`)
    return bytes
  }
  const key = await resolveKey('current_key', config.currentKey)
  const previous =
    config.previousKey === undefined
      ? {}
      : { previousKeyId: config.previousKeyId, previousKey: await resolveKey('previous_key', config.previousKey) }
  return staticKeySeal({ keyId: config.currentKeyId, key, ...previous })
}

/** A file may also hold the 32 bytes themselves. */
function decodeKey(given: string | Buffer): Uint8Array | undefined {
  if (Buffer.isBuffer(given) && given.length === KEY_BYTES) return given
  const text = given.toString().trim()
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64')
  return bytes.length === KEY_BYTES ? bytes : undefined
}

/** A token in a file is read before every call: whoever keeps it fresh may replace it at any time. */
async function openTransit(stanza: string, config: TransitSealConfig, log: Log): Promise<AutoSeal> {
  const readToken = async (): Promise<string> =>
    (await resolveSecret(`${stanza}: token`, config.token)).toString().trim()
  await readToken()
  const pem = async (field: string, file: string | undefined): Promise<Buffer | undefined> =>
    file === undefined ? undefined : await readPem(`${stanza}: ${field}`, file)
  const { tls } = config
  const ca = await pem('tls_ca_cert', tls.caCertFile)
  const cert = await pem('tls_client_cert', tls.clientCertFile)
  const key = await pem('tls_client_key', tls.clientKeyFile)
  return transitSeal({
    address: config.address,
    token: () =>
      readToken().catch((error: unknown) => {
        throw new SealError('SEAL_UNAVAILABLE', (error as Error).message)
      }),
    keyName: config.keyName,
    mountPath: config.mountPath,
    namespace: config.namespace,
    disableRenewal: config.disableRenewal,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
      ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
      skipVerify: tls.skipVerify,
    },
    log,
  })
}

async function readPem(field: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw new StartupError(`${field}: ${file}: ${reasonOf(error)}`)
  }
}

/** The package is installed where it is needed only, as its native module is built on the machine. */
async function openPkcs11(
  stanza: string,
  config: Pkcs11SealConfig,
  load: () => Promise<typeof import('@lockstep/seal-pkcs11')>,
): Promise<AutoSeal> {
  const { pkcs11Seal } = await load().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.includes('@lockstep/seal-pkcs11')) throw error
    const text = 'the package @lockstep/seal-pkcs11 is not installed: npm install @lockstep/seal-pkcs11'
    throw new StartupError(`${stanza}: ${text}`)
  })
  const pin = (await resolveSecret(`${stanza}: pin`, config.pin)).toString().trim()
  return pkcs11Seal({
    lib: config.lib,
    ...(config.slot === undefined ? {} : { slot: config.slot }),
    ...(config.tokenLabel === undefined ? {} : { tokenLabel: config.tokenLabel }),
    pin,
    ...(config.keyLabel === undefined ? {} : { keyLabel: config.keyLabel }),
    ...(config.keyId === undefined ? {} : { keyId: Buffer.from(config.keyId, 'hex') }),
    generateKey: config.generateKey,
  })
}
