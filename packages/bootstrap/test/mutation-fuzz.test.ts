// Activation tokens and packages that were changed: refused with the package's own error, or what was signed, and never a key in a message.
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import {
  type ActivationPackage,
  BootstrapError,
  createReplicationCa,
  generateActivationKey,
  generateTokenKey,
  issueSecondary,
  openActivation,
  parseActivationPackage,
  readActivationToken,
  sealActivation,
  signActivationToken,
  verifyActivationToken,
} from '../src/index.ts'

const now = Date.parse('2026-11-23T12:00:00Z')
const signing = generateTokenKey()
const recipient = generateActivationKey()
const runs = { numRuns: process.env.SLOW ? 5000 : 100 }

let token: string
let sealed: string
let good: ActivationPackage

beforeAll(async () => {
  const ca = await createReplicationCa({ clusterId: 'blue', now })
  const issued = await issueSecondary(ca, { id: 'eu', now })
  good = {
    ...{ id: 'eu', clusterId: 'blue', caCertificate: ca.certificatePem },
    ...{ clientCertificate: issued.certificatePem, clientKey: issued.privateKeyPem },
    ...{ primaryClusterAddr: 'https://primary.example:8201', kind: 'performance' },
  }
  token = await signActivationToken(signing.privateKeyPem, { addr: 'https://p:8200', jti: 'hvs.x', ttl: 1800, now })
  sealed = await sealActivation({
    ...{ publicKey: recipient.publicKey, package: good, caPrivateKey: ca.privateKeyPem },
    ...{ ttl: 1800, now },
  })
})

interface Change {
  place: number
  how: 'set' | 'cut' | 'insert' | 'swap'
  text: string
}
const character = fc.oneof(
  fc.constantFrom('.', 'A', '_', '=', ' ', '\n', '{', '"'),
  fc.string({ minLength: 1, maxLength: 1 }),
)
const change: fc.Arbitrary<Change> = fc.record({
  place: fc.nat(),
  how: fc.constantFrom('set', 'cut', 'insert', 'swap'),
  text: character,
})
const changes = fc.array(change, { minLength: 1, maxLength: 3 })

function changed(text: string, list: readonly Change[]): string {
  let result = text
  for (const { place, how, text: given } of list) {
    const at = place % (result.length + 1)
    if (how === 'set') result = result.slice(0, at) + given + result.slice(at + 1)
    if (how === 'cut') result = result.slice(0, at) + result.slice(at + 1 + (place % 5))
    if (how === 'insert') result = result.slice(0, at) + given + result.slice(at)
    if (how === 'swap') {
      const parts = result.split('.')
      const other = place % parts.length
      ;[parts[0], parts[other]] = [parts[other]!, parts[0]!]
      result = parts.join('.')
    }
  }
  return result
}

async function tried<T>(open: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await open()
  } catch (error) {
    expect(error).toBeInstanceOf(BootstrapError)
    expect((error as Error).message).not.toContain('PRIVATE KEY')
    return undefined
  }
}

test('signed tokens: what verifies is what was signed', async () => {
  const original = await verifyActivationToken(signing.publicKeyPem, token, now)
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const text = changed(token, list)
      await tried(() => readActivationToken(text, now))
      const claims = await tried(() => verifyActivationToken(signing.publicKeyPem, text, now))
      if (claims !== undefined) expect(claims).toEqual(original)
    }),
    runs,
  )
})

test('sealed activations: what opens is what was sealed', async () => {
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const text = changed(sealed, list)
      const opened = await tried(() =>
        openActivation(text, { privateKey: recipient.privateKeyPem, kind: 'performance', now }),
      )
      if (opened !== undefined) expect(opened).toEqual(good)
    }),
    runs,
  )
})

test('packages with other fields', async () => {
  const name = fc.constantFrom(
    'id',
    'clusterId',
    'caCertificate',
    'clientCertificate',
    'clientKey',
    'primaryClusterAddr',
    'kind',
    '__proto__',
  )
  const edits = fc.array(
    fc.tuple(
      name,
      fc.oneof(
        fc.jsonValue(),
        changes.map((list) => ({ list })),
        fc.constant(undefined),
      ),
    ),
    { minLength: 1, maxLength: 3 },
  )
  await fc.assert(
    fc.asyncProperty(edits, async (list) => {
      const given = new Map<string, unknown>(Object.entries(good))
      for (const [field, edit] of list) {
        const listed = (edit as { list?: Change[] } | null | undefined)?.list
        if (edit === undefined) given.delete(field)
        else given.set(field, Array.isArray(listed) ? changed(String(given.get(field)), listed) : edit)
      }
      const parsed = await tried(() => parseActivationPackage(Object.fromEntries(given)))
      if (parsed === undefined) return
      expect(Object.keys(parsed).sort()).toEqual(Object.keys(good).sort())
      // Bound to each other by the certificates.
      expect([parsed.id, parsed.clusterId]).toEqual([good.id, good.clusterId])
    }),
    runs,
  )
})
