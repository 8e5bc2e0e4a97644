import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { CompactEncrypt, decodeProtectedHeader, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  type ActivationPackage,
  createReplicationCa,
  generateActivationKey,
  isSealedActivation,
  issueSecondary,
  openActivation,
  type ReplicationCa,
  sealActivation,
} from '../src/index.ts'

const now = Date.parse('2026-11-23T12:00:00Z')
const ttl = 1800
const keys = generateActivationKey()
const recipient = createPublicKey({ key: Buffer.from(keys.publicKey, 'base64'), type: 'spki', format: 'der' })

let ca: ReplicationCa
let activation: ActivationPackage
let token: string

async function packageFrom(authority: ReplicationCa): Promise<ActivationPackage> {
  const issued = await issueSecondary(authority, { id: 'eu-west', now })
  return {
    id: 'eu-west',
    clusterId: authority.clusterId,
    caCertificate: authority.certificatePem,
    clientCertificate: issued.certificatePem,
    clientKey: issued.privateKeyPem,
    primaryClusterAddr: 'https://primary.example:8201',
    kind: 'performance',
  }
}
const seal = (change: Partial<Parameters<typeof sealActivation>[0]> = {}): Promise<string> =>
  sealActivation({
    publicKey: keys.publicKey,
    package: activation,
    caPrivateKey: ca.privateKeyPem,
    ttl,
    now,
    ...change,
  })
const open = (text: string, change: Partial<Parameters<typeof openActivation>[1]> = {}): Promise<ActivationPackage> =>
  openActivation(text, { privateKey: keys.privateKeyPem, kind: 'performance', now, ...change })

beforeAll(async () => {
  ca = await createReplicationCa({ clusterId: 'blue', now })
  activation = await packageFrom(ca)
  token = await seal()
})

describe('activation by public key', () => {
  test('round trip; nothing of the package is readable in the token', async () => {
    expect(isSealedActivation(token)).toBe(true)
    expect(isSealedActivation('a.b.c')).toBe(false)
    expect(await open(`${token}\n`)).toEqual(activation)
    const header = decodeProtectedHeader(token)
    expect(header).toEqual({
      ...{ alg: 'ECDH-ES', enc: 'A256GCM', cty: 'JWT', kind: 'performance', exp: now / 1000 + ttl },
      kid: expect.stringMatching(/^[0-9a-f]{64}$/),
      epk: expect.objectContaining({ kty: 'EC', crv: 'P-521' }),
    })
    const decoded = token.split('.').map((part) => Buffer.from(part, 'base64url').toString('latin1'))
    for (const secret of ['eu-west', 'primary.example', 'BEGIN']) expect(decoded.join()).not.toContain(secret)
    // Two tokens of one package share nothing.
    expect((await seal()).split('.')[3]).not.toBe(token.split('.')[3])
  })

  test('expires', async () => {
    expect(await open(token, { now: now + ttl * 1000 - 1000 })).toEqual(activation)
    await expect(open(token, { now: now + ttl * 1000 })).rejects.toMatchObject({ code: 'BOOTSTRAP_TOKEN_EXPIRED' })
    await expect(open(token, { now: now - 3_600_000 })).rejects.toMatchObject({ code: 'BOOTSTRAP_INVALID_TOKEN' })
    for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(seal({ ttl: bad })).rejects.toMatchObject({ code: 'BOOTSTRAP_INVALID_TOKEN' })
    }
  })

  test('another kind, another key, no key', async () => {
    await expect(open(token, { kind: 'dr' })).rejects.toThrow('it activates a performance secondary, not a dr one')
    const other = generateActivationKey().privateKeyPem
    await expect(open(token, { privateKey: other })).rejects.toThrow('it was made for another key')
    await expect(open(token, { privateKey: undefined })).rejects.toThrow('this cluster has no key to open it with')
  })

  test('any changed character', async () => {
    for (let at = 0; at < token.length; at += 97) {
      const character = token[at] === 'A' ? 'B' : 'A'
      const changed = token.slice(0, at) + character + token.slice(at + 1)
      await expect(open(changed), String(at)).rejects.toMatchObject({ code: expect.stringMatching(/^BOOTSTRAP_/) })
    }
    for (const text of ['', '....', 'a.b.c.d.e', 'x'.repeat(70_000), token.split('.').slice(0, 4).join('.')]) {
      await expect(open(text)).rejects.toMatchObject({ code: 'BOOTSTRAP_INVALID_TOKEN' })
    }
  })

  test('parts that a holder of one package joined anew, without the CA key', async () => {
    const kid = decodeProtectedHeader(token).kid!
    const exp = now / 1000 + 10 * ttl
    const encrypt = (statement: string): Promise<string> =>
      new CompactEncrypt(Buffer.from(statement))
        .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', cty: 'JWT', kid, kind: 'performance', exp })
        .encrypt(recipient)
    const forge = (content: object, key = createPrivateKey(activation.clientKey), audience = kid, until = exp) =>
      new SignJWT({ type: 'secondary-activation', package: content })
        .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
        .setAudience(audience)
        .setIssuedAt(now / 1000)
        .setNotBefore(now / 1000)
        .setExpirationTime(until)
        .sign(key)
    const caKey = createPrivateKey(ca.privateKeyPem)
    const redirected = { ...activation, primaryClusterAddr: 'https://evil.example:8201' }
    const foreign = await packageFrom(await createReplicationCa({ clusterId: 'blue', now }))
    const statements = {
      'signed with the client key': await forge(redirected),
      'signed by another CA of the same name': await forge(foreign, caKey),
      'for another recipient': await forge({ ...activation }, caKey, 'someone else'),
      'another expiry than the header says': await forge({ ...activation }, caKey, kid, exp - 1),
      'not signed at all': JSON.stringify({ package: activation }),
      'CA and client of two sets': await forge({ ...activation, caCertificate: foreign.caCertificate }, caKey),
    }
    for (const [what, statement] of Object.entries(statements)) {
      await expect(open(await encrypt(statement)), what).rejects.toMatchObject({
        code: expect.stringMatching(/^BOOTSTRAP_INVALID_(TOKEN|PACKAGE)$/),
      })
    }
    // The same way of making it, with nothing wrong, is accepted: the refusals above are not for another reason.
    expect(await open(await encrypt(await forge({ ...activation }, caKey)))).toEqual(activation)
  })

  test('public keys that are none', async () => {
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' })
    const bad = ['', 'x', '%%%', 'A'.repeat(2000), p256.toString('base64'), keys.publicKey.slice(0, -8)]
    for (const publicKey of bad) {
      await expect(seal({ publicKey }), publicKey.slice(0, 10)).rejects.toMatchObject({ code: 'BOOTSTRAP_INVALID_KEY' })
    }
  })
})
