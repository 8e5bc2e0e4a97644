import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ActivationPackage } from '../src/index.ts'
import {
  BootstrapError,
  createReplicationCa,
  generateTokenKey,
  issuePrimaryServer,
  issueSecondary,
  parseActivationPackage,
  readActivationToken,
  signActivationToken,
  verifyActivationToken,
} from '../src/index.ts'

const now = Date.parse('2026-11-23T12:00:00Z')
const keys = generateTokenKey()
const input = { addr: 'https://primary.example:8200', jti: 'hvs.inner', ttl: 1800, now }

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const claims = {
  accessor: '',
  addr: input.addr,
  exp: now / 1000 + 60,
  iat: now / 1000,
  jti: 'x',
  nbf: now / 1000,
  type: 'wrapping',
}

describe('activation token', () => {
  test("has Vault's header and claims", async () => {
    const token = await signActivationToken(keys.privateKeyPem, input)
    const [header, payload, signature] = token.split('.').map((text) => Buffer.from(text, 'base64url'))
    expect(JSON.parse(header!.toString())).toEqual({ alg: 'ES512', typ: 'JWT' })
    const iat = now / 1000
    const expected = {
      accessor: '',
      addr: input.addr,
      exp: iat + 1800,
      iat,
      jti: 'hvs.inner',
      nbf: iat - 5,
      type: 'wrapping',
    }
    expect(JSON.parse(payload!.toString())).toEqual(expected)
    expect(signature!.length).toBe(132)
    expect(await verifyActivationToken(keys.publicKeyPem, token, now)).toEqual(expected)
    expect(readActivationToken(`${token}\n`, now)).toEqual(expected)
  })

  test('expires, and is not valid long before it was made', async () => {
    const token = await signActivationToken(keys.privateKeyPem, input)
    const end = now + 1_800_000
    expect((await verifyActivationToken(keys.publicKeyPem, token, end - 1000)).jti).toBe('hvs.inner')
    await expect(verifyActivationToken(keys.publicKeyPem, token, end)).rejects.toMatchObject({
      code: 'BOOTSTRAP_TOKEN_EXPIRED',
    })
    expect(() => readActivationToken(token, end)).toThrow('expired')
    expect((await verifyActivationToken(keys.publicKeyPem, token, now - 4000)).jti).toBe('hvs.inner')
    await expect(verifyActivationToken(keys.publicKeyPem, token, now - 60_000)).rejects.toMatchObject({
      code: 'BOOTSTRAP_INVALID_TOKEN',
    })
  })

  test('refuses another key, and any change of any character', async () => {
    const token = await signActivationToken(keys.privateKeyPem, input)
    await expect(verifyActivationToken(generateTokenKey().publicKeyPem, token, now)).rejects.toMatchObject({
      code: 'BOOTSTRAP_INVALID_TOKEN',
    })
    // The last character of each part may carry unused bits, so the change is made before it.
    const positions = [...token]
      .map((_, index) => index)
      .filter((index) => /[\w-]/.test(token[index + 1] ?? '.') && token[index] !== '.')
    for (const position of positions.filter((_, index) => index % 7 === 0)) {
      const changed = `${token.slice(0, position)}${token[position] === 'A' ? 'B' : 'A'}${token.slice(position + 1)}`
      await expect(verifyActivationToken(keys.publicKeyPem, changed, now)).rejects.toBeInstanceOf(BootstrapError)
    }
  })

  test('refuses alg none, HS512 with the public key as secret, ES256 and another typ', async () => {
    const none = `${part({ alg: 'none', typ: 'JWT' })}.${part(claims)}.`
    const body = `${part({ alg: 'HS512', typ: 'JWT' })}.${part(claims)}`
    const hs512 = `${body}.${createHmac('sha512', keys.publicKeyPem).update(body).digest('base64url')}`
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const es256 = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
      .sign(p256.privateKey)
    const p521 = await import('node:crypto').then(({ createPrivateKey }) => createPrivateKey(keys.privateKeyPem))
    const typ = await new SignJWT({ ...claims }).setProtectedHeader({ alg: 'ES512', typ: 'at+jwt' }).sign(p521)
    for (const token of [none, hs512, es256, typ]) {
      await expect(verifyActivationToken(keys.publicKeyPem, token, now)).rejects.toMatchObject({
        code: 'BOOTSTRAP_INVALID_TOKEN',
      })
    }
    for (const token of [none, hs512, es256]) expect(() => readActivationToken(token, now)).toThrow(BootstrapError)
    await expect(
      verifyActivationToken(createPublicKey(p256.publicKey.export({ type: 'spki', format: 'pem' })), es256, now),
    ).rejects.toMatchObject({
      code: 'BOOTSTRAP_INVALID_KEY',
    })
    await expect(signActivationToken(p256.privateKey, input)).rejects.toMatchObject({ code: 'BOOTSTRAP_INVALID_KEY' })
  })

  test.each([
    ['another type', { type: 'service' }],
    ['no type', { type: undefined }],
    ['no jti', { jti: undefined }],
    ['an empty jti', { jti: '' }],
    ['a numeric addr', { addr: 7 }],
    ['no exp', { exp: undefined }],
    ['a string exp', { exp: '9999999999' }],
  ])('refuses a well-signed token with %s', async (_, change) => {
    const { createPrivateKey } = await import('node:crypto')
    const token = await new SignJWT({ ...claims, ...change } as never)
      .setProtectedHeader({ alg: 'ES512', typ: 'JWT' })
      .sign(createPrivateKey(keys.privateKeyPem))
    await expect(verifyActivationToken(keys.publicKeyPem, token, now)).rejects.toMatchObject({
      code: 'BOOTSTRAP_INVALID_TOKEN',
    })
    expect(() => readActivationToken(token, now)).toThrow(BootstrapError)
  })

  test('a secondary reading one gets a plain reason', async () => {
    const read =
      (token: string, options = {}) =>
      () =>
        readActivationToken(token, now, options)
    expect(read('hvs.CAESI')).toThrow('not a JWT')
    expect(read('')).toThrow('not a JWT')
    expect(read('a.b.c')).toThrow('not a JWT')
    expect(read('a'.repeat(9000))).toThrow('too long')
    const bare = await signActivationToken(keys.privateKeyPem, { ...input, addr: '' })
    expect(read(bare)).toThrow('primary_api_addr')
    expect(readActivationToken(bare, now, { addrOptional: true }).addr).toBe('')
    const script = await signActivationToken(keys.privateKeyPem, { ...input, addr: 'file:///etc/passwd' })
    expect(read(script)).toThrow('not an http(s) URL')
  })

  test('any text gives claims or a BootstrapError, never another failure', async () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.tuple(fc.jsonValue(), fc.jsonValue()).map(([a, b]) => `${part(a)}.${part(b)}.AAAA`),
        ),
        (text) => {
          try {
            readActivationToken(text, now)
          } catch (error) {
            expect(error).toBeInstanceOf(BootstrapError)
          }
        },
      ),
    )
  })
})

describe('activation package', () => {
  let good: ActivationPackage
  let others: Record<string, string>
  beforeAll(async () => {
    const ca = await createReplicationCa({ clusterId: 'c1', now })
    const client = await issueSecondary(ca, { id: 'eu', now })
    const rogue = await createReplicationCa({ clusterId: 'c1', now })
    good = {
      id: 'eu',
      clusterId: 'c1',
      caCertificate: ca.certificatePem,
      clientCertificate: client.certificatePem,
      clientKey: client.privateKeyPem,
      primaryClusterAddr: 'https://primary.example:8201',
      kind: 'performance',
    }
    others = {
      rogueCa: rogue.certificatePem,
      rogueKey: rogue.privateKeyPem,
      server: (await issuePrimaryServer(ca, { now })).certificatePem,
    }
  })

  test('survives JSON', () => {
    expect(parseActivationPackage(JSON.parse(JSON.stringify(good)))).toEqual(good)
    for (const primaryClusterAddr of ['10.0.0.1:8201', '[::1]:8201', 'https://[::1]:8201/']) {
      expect(parseActivationPackage({ ...good, primaryClusterAddr }).primaryClusterAddr).toBe(primaryClusterAddr)
    }
  })

  test('refuses anything that does not fit together, without repeating the key', () => {
    const bad: unknown[] = [
      null,
      'text',
      [good],
      {},
      { ...good, extra: 1 },
      { ...good, kind: 'both' },
      { ...good, id: 'us' },
      { ...good, id: '' },
      { ...good, id: 5 },
      { ...good, clusterId: 'c2' },
      { ...good, caCertificate: others.rogueCa },
      { ...good, caCertificate: 'x' },
      { ...good, clientCertificate: others.server },
      { ...good, clientKey: others.rogueKey },
      { ...good, clientKey: 'x' },
      { ...good, clientKey: 'x'.repeat(20_000) },
      { ...good, primaryClusterAddr: 'http://a:1' },
      { ...good, primaryClusterAddr: 'a b' },
      { ...good, primaryClusterAddr: 'user@a:1' },
      Object.create(good),
    ]
    for (const value of bad) {
      let thrown: unknown
      try {
        parseActivationPackage(value)
      } catch (error) {
        thrown = error
      }
      expect(thrown).toMatchObject({ code: 'BOOTSTRAP_INVALID_PACKAGE' })
      expect((thrown as Error).message).not.toContain('PRIVATE KEY')
    }
  })
})
