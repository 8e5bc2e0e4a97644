/** The `seal` stanzas: at most one that is in use, and one with `disabled = "true"` to migrate away from. */
import { parseBool } from '../http/parse-bool.ts'
import { ConfigError } from './config-error.ts'
import { type Environment, environmentValue } from './environment.ts'
import type { Section } from './section.ts'
import type { AutoSealConfig, Pkcs11SealConfig, StaticSealConfig, TransitSealConfig } from './server-config.ts'

const KINDS = "'static', 'transit', 'pkcs11' or 'shamir'"
/** CKM_AES_GCM. */
const GCM = new Set(['0x1087', '4231', 'ckm_aes_gcm'])

export interface SealsConfig {
  seal: AutoSealConfig | undefined
  disabledSeal: AutoSealConfig | undefined
}

/** No stanza, or `seal "shamir"`, is Shamir: undefined. */
export function readSeals(roots: readonly Section[], environment: Environment): SealsConfig {
  const blocks = roots.flatMap((root) => root.labelled('seal'))
  const read = (disabled: boolean): AutoSealConfig | undefined => {
    const [block, second] = blocks.filter(({ section }) => (section.boolean('disabled') ?? false) === disabled)
    if (second !== undefined) {
      const state = disabled ? 'disabled' : 'in use'
      throw new ConfigError(`${second.section.where}: more than one seal is ${state}`)
    }
    return block && readSeal(block, environment)
  }
  return { seal: read(false), disabledSeal: read(true) }
}

function readSeal(block: { label: string; section: Section }, environment: Environment): AutoSealConfig | undefined {
  const { label, section } = block
  section.ignore('disabled', 'priority')
  const name = section.string('name') || label
  switch (label) {
    case 'shamir':
      return undefined
    case 'static':
      return readStatic(name, section)
    case 'transit':
      return readTransit(name, section, environment)
    case 'pkcs11':
      return readPkcs11(name, section, environment)
    default:
      throw new ConfigError(`${section.where}: this seal type is not available; it must be ${KINDS}`)
  }
}

function readStatic(name: string, section: Section): StaticSealConfig {
  const required = (key: string) => section.string(key) || section.refuse(key, 'set')
  const previousKeyId = section.string('previous_key_id')
  const previousKey = section.string('previous_key')
  if ((previousKeyId === undefined) !== (previousKey === undefined)) {
    throw new ConfigError(`${section.where}: previous_key_id and previous_key go together`)
  }
  const currentKeyId = required('current_key_id')
  if (currentKeyId === previousKeyId) section.refuse('previous_key_id', 'different from current_key_id')
  return { type: 'static', name, currentKeyId, currentKey: required('current_key'), previousKeyId, previousKey }
}

/** As in Vault, environment variables go before the names of key and mount, and the file before everything else. */
function readTransit(name: string, section: Section, environment: Environment): TransitSealConfig {
  const given = (key: string, variable: string) => section.string(key) || environmentValue(environment, variable)
  const before = (key: string, variable: string) => environmentValue(environment, variable) ?? section.string(key)
  const refuse = (key: string, variable: string): never =>
    section.refuse(key, `set, here or by the environment variable VAULT_${variable}`)
  const address = given('address', 'ADDR') ?? refuse('address', 'ADDR')
  if (!isServerUrl(address)) section.refuse('address', 'a URL such as "https://vault.example:8200"')
  const clientCertFile = given('tls_client_cert', 'CLIENT_CERT')
  const clientKeyFile = given('tls_client_key', 'CLIENT_KEY')
  if ((clientCertFile === undefined) !== (clientKeyFile === undefined)) {
    throw new ConfigError(`${section.where}: tls_client_cert and tls_client_key go together`)
  }
  section.ignore('key_id_prefix')
  return {
    type: 'transit',
    name,
    address,
    token: given('token', 'TOKEN') ?? refuse('token', 'TOKEN'),
    keyName: before('key_name', 'TRANSIT_SEAL_KEY_NAME') || refuse('key_name', 'TRANSIT_SEAL_KEY_NAME'),
    mountPath: before('mount_path', 'TRANSIT_SEAL_MOUNT_PATH') || refuse('mount_path', 'TRANSIT_SEAL_MOUNT_PATH'),
    namespace: given('namespace', 'NAMESPACE') ?? '',
    disableRenewal: flag(section, 'disable_renewal', environmentValue(environment, 'TRANSIT_SEAL_DISABLE_RENEWAL')),
    tls: {
      caCertFile: given('tls_ca_cert', 'CACERT'),
      clientCertFile,
      clientKeyFile,
      serverName: given('tls_server_name', 'TLS_SERVER_NAME'),
      skipVerify: flag(section, 'tls_skip_verify', environmentValue(environment, 'SKIP_VERIFY')),
    },
  }
}

/** As in Vault, environment variables go before the file. */
function readPkcs11(name: string, section: Section, environment: Environment): Pkcs11SealConfig {
  const text = (key: string, variable: string) =>
    environmentValue(environment, variable) ?? (section.string(key) || undefined)
  const refuse = (key: string, variable: string): never =>
    section.refuse(key, `set, here or by the environment variable VAULT_${variable}`)
  const slotGiven = environmentValue(environment, 'HSM_SLOT')
  const slot = slotGiven === undefined ? section.unsigned('slot') : slotNumber(section, slotGiven)
  const tokenLabel = text('token_label', 'HSM_TOKEN_LABEL')
  if (slot === undefined && tokenLabel === undefined) section.refuse('slot', 'set, or token_label')
  const keyLabel = text('key_label', 'HSM_KEY_LABEL')
  const keyId = text('key_id', 'HSM_KEY_ID')?.replace(/^0x/, '').toLowerCase()
  if (keyLabel === undefined && keyId === undefined) section.refuse('key_label', 'set, or key_id')
  if (keyId !== undefined && !/^(?:[0-9a-f]{2}){1,64}$/.test(keyId)) section.refuse('key_id', 'hexadecimal')
  const mechanism = text('mechanism', 'HSM_MECHANISM')
  if (mechanism !== undefined && !GCM.has(mechanism.toLowerCase())) {
    section.refuse('mechanism', '"0x1087" (CKM_AES_GCM): no other one is available')
  }
  // AES-GCM authenticates by itself, and sessions that may write are opened when a key has to be made.
  section.ignore('hmac_key_label', 'hmac_key_id', 'hmac_mechanism', 'default_key_label', 'default_hmac_key_label')
  section.ignore('force_rw_session', 'max_parallel')
  return {
    type: 'pkcs11',
    name,
    lib: text('lib', 'HSM_LIB') ?? refuse('lib', 'HSM_LIB'),
    slot,
    tokenLabel,
    pin: text('pin', 'HSM_PIN') ?? refuse('pin', 'HSM_PIN'),
    keyLabel,
    keyId,
    generateKey: flag(section, 'generate_key', environmentValue(environment, 'HSM_GENERATE_KEY')),
  }
}

/** False unless said otherwise; a variable goes before the file. */
function flag(section: Section, key: string, variable: string | undefined): boolean {
  const configured = section.boolean(key) ?? false
  if (variable === undefined) return configured
  return parseBool(variable) ?? section.refuse(key, 'true or false, also in the environment')
}

function slotNumber(section: Section, text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n)
    section.refuse('slot', 'a whole number, also in VAULT_HSM_SLOT')
  return BigInt(text)
}

function isServerUrl(text: string): boolean {
  try {
    const { protocol, hostname, username, search, hash } = new URL(text)
    return /^https?:$/.test(protocol) && hostname !== '' && username === '' && search === '' && hash === ''
  } catch {
    return false
  }
}
