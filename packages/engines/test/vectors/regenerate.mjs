// Writes openbao-transit.json from a real OpenBao: BAO_ADDR and BAO_TOKEN name a throw-away dev server.
//   bao server -dev -dev-no-store-token -dev-root-token-id=root
//   BAO_ADDR=http://127.0.0.1:8200 BAO_TOKEN=root node test/vectors/regenerate.mjs
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'

const { BAO_ADDR, BAO_TOKEN } = process.env
const mount = `vectors-${Date.now()}`
const plain = 'The quick brown fox'
const base64 = (text) => Buffer.from(text).toString('base64')
const input = base64(plain)
const context = base64('tenant-7')
const associated_data = base64('row 12')
const digest = (name) => createHash(name).update(plain).digest('base64')

async function call(method, path, body) {
  const headers = { 'X-Vault-Token': BAO_TOKEN }
  const response = await fetch(`${BAO_ADDR}/v1/${path}`, { method, headers, body: body && JSON.stringify(body) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text === '' ? {} : JSON.parse(text).data
}
const write = (path, body) => call('POST', `${mount}/${path}`, body)

async function newKey(name, type, settings = {}) {
  await write(`keys/${name}`, { type, exportable: true, allow_plaintext_backup: true, ...settings })
  await write(`keys/${name}/rotate`)
}
async function hmacs(name, algorithms) {
  const made = []
  for (const algorithm of algorithms) {
    made.push({ algorithm, hmac: (await write(`hmac/${name}/${algorithm}`, { input })).hmac })
  }
  return made
}
async function signatures(name, requests) {
  const made = []
  for (const [algorithm, request] of requests) {
    made.push({ algorithm, request, signature: (await write(`sign/${name}/${algorithm}`, request)).signature })
  }
  return made
}
async function ciphertexts(name, requests) {
  const made = []
  for (const request of requests) {
    made.push({ request, ciphertext: (await write(`encrypt/${name}`, request)).ciphertext })
  }
  return made
}

const keys = []
await call('POST', `sys/mounts/${mount}`, { type: 'transit' })

for (const type of ['aes128-gcm96', 'aes256-gcm96', 'chacha20-poly1305']) {
  for (const [mode, settings, extra] of [
    ['plain', {}, {}],
    ['aad', {}, { associated_data }],
    ['derived', { derived: true }, { context }],
    ['convergent', { derived: true, convergent_encryption: true }, { context }],
  ]) {
    const name = `${type}-${mode}`
    await newKey(name, type, settings)
    const requests = [1, 2].map((key_version) => ({ ...extra, plaintext: input, key_version }))
    const encrypt = await ciphertexts(name, requests)
    keys.push({ name, type, mode, encrypt, hmac: await hmacs(name, ['sha2-256', 'sha3-512']) })
  }
}

const sizes = ['224', '256', '384', '512']
await newKey('hmac', 'hmac', { key_size: 48 })
const allHashes = ['sha1', ...sizes.map((size) => `sha2-${size}`), ...sizes.map((size) => `sha3-${size}`)]
keys.push({ name: 'hmac', type: 'hmac', hmac: await hmacs('hmac', allHashes) })

await newKey('ed', 'ed25519')
const edRequests = [{ input }, { input, key_version: 1 }].map((request) => ['sha2-256', request])
keys.push({ name: 'ed', type: 'ed25519', deterministic: true, sign: await signatures('ed', edRequests) })
await newKey('edd', 'ed25519', { derived: true })
const derived = await signatures('edd', [['sha2-256', { input, context }]])
keys.push({ name: 'edd', type: 'ed25519', deterministic: true, sign: derived })

for (const curve of ['p256', 'p384', 'p521']) {
  const requests = []
  for (const [algorithm, hash] of [
    ['sha1', 'sha1'],
    ['sha2-256', 'sha256'],
    ['sha2-384', 'sha384'],
    ['sha2-512', 'sha512'],
    ['sha3-256', 'sha3-256'],
  ]) {
    for (const marshaling_algorithm of ['asn1', 'jws']) {
      requests.push([algorithm, { input, marshaling_algorithm }])
      requests.push([algorithm, { input: digest(hash), prehashed: true, marshaling_algorithm }])
    }
  }
  await newKey(`ec-${curve}`, `ecdsa-${curve}`)
  keys.push({ name: `ec-${curve}`, type: `ecdsa-${curve}`, sign: await signatures(`ec-${curve}`, requests) })
}

for (const bits of [2048, 3072, 4096]) {
  const requests = []
  for (const [algorithm, hash] of [
    ['sha1', 'sha1'],
    ['sha2-256', 'sha256'],
    ['sha2-512', 'sha512'],
    ['sha3-384', 'sha3-384'],
  ]) {
    for (const [signature_algorithm, salts] of [
      ['pkcs1v15', ['auto']],
      ['pss', ['auto', 'hash', '7']],
    ]) {
      for (const salt_length of salts) {
        for (const prehashed of [false, true]) {
          const text = prehashed ? digest(hash) : input
          requests.push([algorithm, { input: text, prehashed, signature_algorithm, salt_length }])
        }
      }
    }
  }
  requests.push(['none', { input, prehashed: true, signature_algorithm: 'pkcs1v15' }])
  const name = `rsa-${bits}`
  await newKey(name, name)
  const sign = await signatures(name, bits === 2048 ? requests : requests.slice(0, 6))
  keys.push({ name, type: name, sign, encrypt: await ciphertexts(name, [{ plaintext: input }]) })
}

for (const key of keys) {
  key.backup = (await call('GET', `${mount}/backup/${key.name}`)).backup
  key.export = {}
  for (const type of ['encryption-key', 'signing-key', 'hmac-key']) {
    const exported = await call('GET', `${mount}/export/${type}/${key.name}`).catch(() => undefined)
    if (exported !== undefined) key.export[type] = exported.keys
  }
}
await call('DELETE', `sys/mounts/${mount}`)
const vectors = { source: 'OpenBao, throw-away keys', input, context, associated_data, keys }
writeFileSync(new URL('openbao-transit.json', import.meta.url), `${JSON.stringify(vectors, null, 1)}\n`)
