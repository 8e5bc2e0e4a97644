/** What OpenBao made, this engine must read; keys travel by backup. */
import { readFileSync } from 'node:fs'
import { type TestBed, testBed } from '@lockstep/backend/test-bed'
import { beforeAll, describe, expect, it } from 'vitest'
import { transitEngine } from '../src/index.ts'

interface VectorKey {
  name: string
  type: string
  mode?: string
  deterministic?: boolean
  backup: string
  encrypt?: { request: Record<string, unknown>; ciphertext: string }[]
  sign?: { algorithm: string; request: Record<string, unknown>; signature: string }[]
  hmac?: { algorithm: string; hmac: string }[]
  export: Record<string, Record<string, string>>
}

const vectors: { input: string; keys: VectorKey[] } = JSON.parse(
  readFileSync(new URL('vectors/openbao-transit.json', import.meta.url), 'utf8'),
)
const wrong = Buffer.from('The slow brown fox').toString('base64')

let bed: TestBed
const call = async (path: string, data: Record<string, unknown>) => (await bed.write(path, data))?.data ?? {}

beforeAll(async () => {
  bed = await testBed(transitEngine())
  for (const { backup } of vectors.keys) await bed.write('restore', { backup })
})

describe.each(vectors.keys.map((key) => [key.name, key] as const))('%s', (name, key) => {
  it('exports the same key material', async () => {
    for (const [type, keys] of Object.entries(key.export)) {
      expect((await bed.read(`export/${type}/${name}`))?.keys).toEqual(keys)
    }
  })

  if (key.encrypt)
    it('decrypts', async () => {
      for (const { request, ciphertext } of key.encrypt!) {
        const { plaintext, key_version, ...input } = request
        expect(await call(`decrypt/${name}`, { ...input, ciphertext })).toEqual({ plaintext: vectors.input })
      }
    })

  if (key.mode === 'convergent')
    it('encrypts to the same ciphertext', async () => {
      for (const { request, ciphertext } of key.encrypt!) {
        expect(await call(`encrypt/${name}`, request)).toMatchObject({ ciphertext })
      }
    })

  if (key.hmac)
    it('makes and verifies the same HMACs', async () => {
      for (const { algorithm, hmac } of key.hmac!) {
        expect(await call(`hmac/${name}/${algorithm}`, { input: vectors.input })).toEqual({ hmac })
        expect(await call(`verify/${name}/${algorithm}`, { input: vectors.input, hmac })).toEqual({ valid: true })
        expect(await call(`verify/${name}/${algorithm}`, { input: wrong, hmac })).toEqual({ valid: false })
      }
    })

  if (key.sign)
    it('verifies signatures and refuses changed ones', async () => {
      for (const { algorithm, request, signature } of key.sign!) {
        const path = `verify/${name}/${algorithm}`
        expect(await call(path, { ...request, signature }), JSON.stringify(request)).toEqual({ valid: true })
        const input = Buffer.from(request.input as string, 'base64')
        input[0]! ^= 1
        expect(await call(path, { ...request, input: input.toString('base64'), signature })).toEqual({ valid: false })
        const body = Buffer.from(signature.slice(9), request.marshaling_algorithm === 'jws' ? 'base64url' : 'base64')
        body[body.length - 1]! ^= 1
        const changed =
          signature.slice(0, 9) + body.toString(request.marshaling_algorithm === 'jws' ? 'base64url' : 'base64')
        expect(await call(path, { ...request, signature: changed })).toEqual({ valid: false })
      }
    })

  if (key.sign)
    it('makes signatures that verify', async () => {
      for (const { algorithm, request, signature } of key.sign!) {
        const made = await call(`sign/${name}/${algorithm}`, request)
        if (key.deterministic) expect(made.signature).toBe(signature)
        const check = { ...request, signature: made.signature }
        expect(await call(`verify/${name}/${algorithm}`, check), JSON.stringify(request)).toEqual({ valid: true })
      }
    })

  it('backs up what can be restored to the same key', async () => {
    const { backup } = (await bed.read(`backup/${name}`)) as { backup: string }
    const other = await testBed(transitEngine())
    await other.write('restore/copy', { backup })
    for (const type of Object.keys(key.export)) {
      expect((await other.read(`export/${type}/copy`))?.keys).toEqual(key.export[type])
    }
  })
})
