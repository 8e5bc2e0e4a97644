// The seal stanzas, from text to seal.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSoftHsm } from '../../../packages/seal-pkcs11/test/softhsm.ts'
import { ConfigError } from '../src/config/config-error.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { serverLog } from '../src/logging/server-log.ts'
import { openSeal } from '../src/open-seal.ts'
import { StartupError } from '../src/startup-error.ts'

let directory: string
let count = 0
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-seals-'))
})
afterAll(() => rm(directory, { recursive: true }))

async function load(stanzas: string, environment: Record<string, string> = {}) {
  const path = join(directory, `${count++}.hcl`)
  await writeFile(path, `storage "inmem" {}\nlistener "tcp" { tls_disable = 1 }\n${stanzas}`)
  return loadConfig([path], environment)
}
const lines: string[] = []
const log = serverLog({ level: 'debug', format: 'json', stream: { write: (line: string) => void lines.push(line) } })
async function open(stanzas: string, environment: Record<string, string> = {}) {
  const { config } = await load(stanzas, environment)
  return (await openSeal(config.seal, log))!
}

const SECRET = 'hvs.correct-horse-battery-staple'
const minimal = `address = "https://keys:8200" token = "${SECRET}" key_name = "k" mount_path = "transit/"`

describe('transit', () => {
  test('every key', async () => {
    const { config, warnings } = await load(`seal "transit" {
      address = "https://keys.example:8200"
      token = "${SECRET}"
      key_name = "autounseal"
      mount_path = "transit/"
      namespace = "ns1/"
      disable_renewal = "true"
      tls_ca_cert = "/ca.pem"
      tls_client_cert = "/cert.pem"
      tls_client_key = "/key.pem"
      tls_server_name = "keys"
      tls_skip_verify = "false"
      name = "main"
      priority = "1"
      key_id_prefix = "x"
    }`)
    expect(warnings).toEqual([])
    expect(config.seal).toEqual({
      ...{ type: 'transit', name: 'main', address: 'https://keys.example:8200', token: SECRET },
      ...{ keyName: 'autounseal', mountPath: 'transit/', namespace: 'ns1/', disableRenewal: true },
      tls: {
        ...{ caCertFile: '/ca.pem', clientCertFile: '/cert.pem', clientKeyFile: '/key.pem' },
        ...{ serverName: 'keys', skipVerify: false },
      },
    })
  })

  test('what the stanza leaves out comes from the environment; names of key and mount come from there first', async () => {
    const { config } = await load('seal "transit" { key_name = "file" mount_path = "file" }', {
      ...{ VAULT_ADDR: 'http://127.0.0.1:8200', VAULT_TOKEN: SECRET, VAULT_NAMESPACE: 'ns', VAULT_CACERT: '/env.pem' },
      ...{
        VAULT_TRANSIT_SEAL_KEY_NAME: 'k',
        BAO_TRANSIT_SEAL_MOUNT_PATH: 'm',
        VAULT_TRANSIT_SEAL_DISABLE_RENEWAL: '1',
      },
      ...{ VAULT_SKIP_VERIFY: 'true', VAULT_TLS_SERVER_NAME: 'keys' },
    })
    expect(config.seal).toMatchObject({
      ...{ address: 'http://127.0.0.1:8200', token: SECRET, keyName: 'k', mountPath: 'm', namespace: 'ns' },
      ...{ disableRenewal: true, tls: { caCertFile: '/env.pem', serverName: 'keys', skipVerify: true } },
    })
    const other = await load(`seal "transit" { ${minimal} }`, { VAULT_ADDR: 'http://elsewhere', VAULT_TOKEN: 'other' })
    expect(other.config.seal).toMatchObject({ address: 'https://keys:8200', token: SECRET })
  })

  test.each([
    ['seal "transit" {}', 'address must be set, here or by the environment variable VAULT_ADDR'],
    ['seal "transit" { address = "https://keys" }', 'token must be set'],
    ['seal "transit" { address = "https://keys" token = "t" }', 'key_name must be set'],
    ['seal "transit" { address = "https://keys" token = "t" key_name = "k" }', 'mount_path must be set'],
    [`seal "transit" { ${minimal.replace('https://keys:8200', 'keys:8200')} }`, 'address must be a URL'],
    [`seal "transit" { ${minimal.replace('https://', 'https://me:pw@')} }`, 'address must be a URL'],
    [`seal "transit" { ${minimal} tls_client_cert = "/c" }`, 'tls_client_cert and tls_client_key go together'],
    [`seal "transit" { ${minimal} disable_renewal = "perhaps" }`, 'disable_renewal must be true or false'],
  ])('%s is refused', async (stanza, text) => {
    const error = await load(stanza).catch((reason: Error) => reason)
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as Error).message).toContain(text)
    expect((error as Error).message).not.toContain(SECRET)
  })

  test('opens without asking the server; a missing file or variable, or an odd name, stops the start', async () => {
    const seal = await open(`seal "transit" { ${minimal} disable_renewal = true }`)
    expect(seal).toMatchObject({ type: 'transit', keyId: 'k' })
    await seal.close()
    for (const [stanza, text] of [
      [`seal "transit" { ${minimal} tls_ca_cert = "/nowhere.pem" }`, 'tls_ca_cert: /nowhere.pem: no such file'],
      [`seal "transit" { ${minimal.replace(SECRET, 'file:///nowhere')} }`, 'token: file:///nowhere cannot be read'],
      [`seal "transit" { ${minimal.replace(SECRET, 'env://LOCKSTEP_NOT_SET')} }`, 'env://LOCKSTEP_NOT_SET is not set'],
      [`seal "transit" { ${minimal.replace('"k"', '"a/b"')} }`, 'the name of the transit key'],
    ] as const) {
      const error = await open(stanza).catch((reason: Error) => reason as Error)
      expect(error).toBeInstanceOf(StartupError)
      expect((error as Error).message).toContain(`seal "transit": `)
      expect((error as Error).message).toContain(text)
    }
    expect(lines.join()).not.toContain(SECRET)
  })
})

const hsm = 'lib = "/lib.so" token_label = "t" pin = "secret-pin" key_label = "k"'

describe('pkcs11', () => {
  test('every key', async () => {
    const { config, warnings } = await load(`seal "pkcs11" {
      lib = "/usr/lib/hsm.so"
      slot = "2305843009213693953"
      token_label = "lockstep"
      pin = "secret-pin"
      key_label = "root"
      key_id = "0x0aFF"
      mechanism = "0x1087"
      hmac_key_label = "hmac"
      hmac_mechanism = "0x0251"
      generate_key = "true"
      force_rw_session = "true"
      max_parallel = 1
    }`)
    expect(warnings).toEqual([])
    expect(config.seal).toEqual({
      ...{ type: 'pkcs11', name: 'pkcs11', lib: '/usr/lib/hsm.so', slot: 2305843009213693953n, tokenLabel: 'lockstep' },
      ...{ pin: 'secret-pin', keyLabel: 'root', keyId: '0aff', generateKey: true },
    })
  })

  test('the environment goes first', async () => {
    const { config } = await load(`seal "pkcs11" { ${hsm} slot = 1 }`, {
      ...{ VAULT_HSM_LIB: '/env.so', VAULT_HSM_SLOT: '7', VAULT_HSM_TOKEN_LABEL: 'env', VAULT_HSM_PIN: 'env-pin' },
      ...{ VAULT_HSM_KEY_LABEL: 'env-key', VAULT_HSM_KEY_ID: '01', VAULT_HSM_GENERATE_KEY: 'true' },
      VAULT_HSM_MECHANISM: '4231',
    })
    expect(config.seal).toMatchObject({
      ...{ lib: '/env.so', slot: 7n, tokenLabel: 'env', pin: 'env-pin', keyLabel: 'env-key', keyId: '01' },
      generateKey: true,
    })
  })

  test.each([
    [
      'seal "pkcs11" { slot = 0 key_label = "k" }',
      'lib must be set, here or by the environment variable VAULT_HSM_LIB',
    ],
    ['seal "pkcs11" { lib = "/l" slot = 0 key_label = "k" }', 'pin must be set'],
    ['seal "pkcs11" { lib = "/l" pin = "secret-pin" key_label = "k" }', 'slot must be set, or token_label'],
    ['seal "pkcs11" { lib = "/l" pin = "secret-pin" slot = 0 }', 'key_label must be set, or key_id'],
    [`seal "pkcs11" { ${hsm} slot = "first" }`, 'slot must be a whole number'],
    [`seal "pkcs11" { ${hsm} slot = 18446744073709551616 }`, 'slot must be a whole number in quotes'],
    [`seal "pkcs11" { ${hsm} key_id = "0x0" }`, 'key_id must be hexadecimal'],
    [`seal "pkcs11" { ${hsm} mechanism = "0x1085" }`, 'mechanism must be "0x1087" (CKM_AES_GCM)'],
  ])('%s is refused', async (stanza, text) => {
    const error = await load(stanza).catch((reason: Error) => reason)
    expect(error).toBeInstanceOf(ConfigError)
    expect((error as Error).message).toContain(text)
    expect((error as Error).message).not.toContain('secret-pin')
  })

  test('without its package the start is stopped by one line that says what to install', async () => {
    const { config } = await load(`seal "pkcs11" { ${hsm} }`)
    // As Node says it.
    const error = Object.assign(new Error("Cannot find package '@lockstep/seal-pkcs11' imported from open-seal.js"), {
      code: 'ERR_MODULE_NOT_FOUND',
    })
    const opening = openSeal(config.seal, log, () => Promise.reject(error))
    await expect(opening).rejects.toThrow(StartupError)
    await expect(opening).rejects.toThrow(
      'seal "pkcs11": the package @lockstep/seal-pkcs11 is not installed: npm install',
    )
    await expect(openSeal(config.seal, log, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
  })

  test('opens a library; the PIN may be in a file', async () => {
    const device = await startSoftHsm()
    device.initToken('t', 'secret-pin')
    const pin = join(directory, 'pin')
    await writeFile(pin, 'secret-pin\n')
    const stanza = hsm.replace('/lib.so', device.lib).replace('"secret-pin"', `"file://${pin}"`)
    const seal = await open(`seal "pkcs11" { ${stanza} generate_key = true }`)
    const key = randomBytes(32)
    expect(Buffer.from(await seal.decrypt(await seal.encrypt(key)))).toEqual(key)
    await seal.close()
    await device.close()
    await expect(open(`seal "pkcs11" { ${hsm} }`)).rejects.toThrow(
      'seal "pkcs11": the PKCS#11 library /lib.so cannot be used',
    )
  })
})

describe('several stanzas', () => {
  const key = '00'.repeat(32)
  const fixed = (name: string, more = '') =>
    `seal "static" { current_key_id = "${name}" current_key = "${key}" ${more} }\n`
  test.each([
    ['one', fixed('a'), 'a', undefined],
    ['one in use, one disabled', fixed('a') + fixed('b', 'disabled = "true"'), 'a', 'b'],
    ['a disabled one: Shamir', fixed('b', 'disabled = true'), undefined, 'b'],
    ['Shamir by name, a disabled one', `seal "shamir" {}\n${fixed('b', 'disabled = "1"')}`, undefined, 'b'],
    ['one said to be enabled', fixed('a', 'disabled = "false"'), 'a', undefined],
  ])('%s', async (_, text, inUse, disabled) => {
    const { config, warnings } = await load(text)
    expect(warnings).toEqual([])
    expect(config.seal && 'currentKeyId' in config.seal ? config.seal.currentKeyId : undefined).toBe(inUse)
    const former = config.disabledSeal
    expect(former && 'currentKeyId' in former ? former.currentKeyId : undefined).toBe(disabled)
  })

  test.each([
    [fixed('a') + fixed('b'), 'more than one seal is in use'],
    [`${fixed('a')}seal "transit" { ${minimal} }`, 'more than one seal is in use'],
    [fixed('a', 'disabled = true') + fixed('b', 'disabled = true'), 'more than one seal is disabled'],
    [fixed('a', 'disabled = "maybe"'), 'disabled must be true or false'],
  ])('%# is refused', async (text, message) => {
    await expect(load(text)).rejects.toThrow(message)
  })
})
