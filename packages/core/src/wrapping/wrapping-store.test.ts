import { memoryStore, type Store, transact } from '@lockstep/storage'
import { beforeEach, describe, expect, test } from 'vitest'
import { exactNumber } from '../../test/exact-number.ts'
import type { Log, NewToken, TokenEntry, WrappingStore } from '../contracts.ts'
import { JWT_KEY_PATH } from './jwt-key.ts'
import { type WrappingComponents, wrappingStore } from './wrapping-store.ts'

const notValid = { code: 'CORE_INVALID_REQUEST', message: 'wrapping token is not valid or does not exist' }

/** A number as the request parser keeps it when its text matters. */
const precise = exactNumber('1.00')

let time: number
let storage: Store
let tokens: ReturnType<typeof fakeTokens>
let warnings: string[]
let store: WrappingStore

beforeEach(() => {
  time = 1_700_000_000_000
  storage = memoryStore()
  tokens = fakeTokens(storage)
  warnings = []
  store = wrappingStore(components())
})

function components(): WrappingComponents {
  const log: Log = { debug() {}, info() {}, warn: (message) => warnings.push(message), error() {} }
  return { tokens, storage, cubbyholePrefix: () => 'logical/cub/', clock: { now: () => time }, log }
}

const wrap = (response: unknown = { data: { a: 'b' } }, change: Partial<Parameters<WrappingStore['wrap']>[0]> = {}) =>
  store.wrap({ response, ttl: 300, path: 'secret/data/app', format: '', ...change })

describe('wrap and unwrap', () => {
  test('gives the response back as it was, once', async () => {
    const response = { request_id: '1', data: { text: 'ü"\\', list: [1, null], precise: precise } }
    const info = await wrap(response)
    expect(info).toEqual({
      token: expect.stringMatching(/^hvs\./),
      accessor: expect.any(String),
      ttl: 300,
      creation_time: '2023-11-14T22:13:20.000Z',
      creation_path: 'secret/data/app',
    })
    expect(await store.unwrap(info.token)).toBe(
      '{"request_id":"1","data":{"text":"ü\\"\\\\","list":[1,null],"precise":1.00}}',
    )
    await expect(store.unwrap(info.token)).rejects.toMatchObject(notValid)
    await expect(store.lookup(info.token)).rejects.toMatchObject(notValid)
    expect(await storage.list('logical/cub/')).toEqual([])
    expect(tokens.revoked).toEqual([info.token])
  })

  test('the token is an orphan of one use with the wrapping policy, and cannot outlive its TTL', async () => {
    const { token, accessor } = await wrap()
    expect(await tokens.lookup(token)).toMatchObject({
      accessor,
      policies: ['response-wrapping'],
      path: 'secret/data/app',
      numUses: 1,
      ttl: 300,
      explicitMaxTtl: 300,
      renewable: false,
      parent: '',
      type: 'service',
    })
  })

  test('shows the wrapped accessor', async () => {
    expect(await wrap({}, { wrappedAccessor: 'acc' })).toMatchObject({ wrapped_accessor: 'acc' })
  })

  test('needs a TTL', async () => {
    for (const ttl of [0, -1, Number.NaN]) {
      await expect(wrap({}, { ttl })).rejects.toMatchObject({ code: 'CORE_INVALID_REQUEST' })
    }
  })

  test('only one of many concurrent callers gets it', async () => {
    const { token } = await wrap()
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => store.unwrap(token)))
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject(notValid)
  })

  test('two nodes over one storage, both sure that the token lives: still only one', async () => {
    const { token } = await wrap()
    const other = wrappingStore(components())
    const results = await Promise.allSettled([store.unwrap(token), other.unwrap(token), other.rewrap(token)])
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
  })

  test('a token that cannot be revoked afterwards is reported, and still worth nothing', async () => {
    const { token } = await wrap()
    tokens.failRevoke = true
    await store.unwrap(token)
    expect(warnings).toEqual(['a used wrapping token was not revoked'])
    await expect(store.unwrap(token)).rejects.toMatchObject(notValid)
  })

  test('token and response are stored together or not at all', async () => {
    const broken = wrappingStore({
      ...components(),
      cubbyholePrefix: () => {
        throw new Error('no cubbyhole')
      },
    })
    await expect(broken.wrap({ response: {}, ttl: 1, path: 'p', format: '' })).rejects.toThrow('no cubbyhole')
    expect(await storage.list('')).toEqual([])
  })

  test('refuses what is no wrapping token', async () => {
    const plain = await transact(storage, (transaction) =>
      tokens.create({ policies: ['response-wrapping', 'root'], path: 'auth/token/create', ttl: 60 }, { transaction }),
    )
    await storage.put(`logical/cub/${plain.cubbyholeId}/response`, new TextEncoder().encode('{"format":1}'))
    const { token } = await wrap()
    ;(await tokens.lookup(token))!.numUses = -1
    for (const bad of ['', 'nonsense', 'a.b.c', 'eyJ.x.y', plain.id, token]) {
      for (const call of [store.lookup, store.unwrap, store.rewrap]) {
        await expect(call(bad), bad).rejects.toMatchObject(notValid)
      }
    }
  })

  test('what the token wrote into its cubbyhole itself is not taken for a response', async () => {
    const { token } = await wrap()
    const entry = (await tokens.lookup(token))!
    await storage.put(`logical/cub/${entry.cubbyholeId}/response`, new TextEncoder().encode('\0{"format":1}'))
    await expect(store.unwrap(token)).rejects.toMatchObject(notValid)
  })
})

describe('lookup', () => {
  test('tells when and where it was made, without using it up', async () => {
    const { token } = await wrap()
    time += 60_000
    const facts = { creation_ttl: 300, creation_time: '2023-11-14T22:13:20.000Z', creation_path: 'secret/data/app' }
    expect(await store.lookup(token)).toEqual(facts)
    expect(await store.lookup(token)).toEqual(facts)
    await store.unwrap(token)
  })
})

describe('rewrap', () => {
  test('moves the response to a new token of the same TTL and path', async () => {
    const first = await wrap({ data: 1 }, { wrappedAccessor: 'acc' })
    time += 1000
    const second = await store.rewrap(first.token)
    expect(second).toEqual({
      ...first,
      token: second.token,
      accessor: second.accessor,
      creation_time: '2023-11-14T22:13:21.000Z',
    })
    expect(second.token).not.toBe(first.token)
    await expect(store.unwrap(first.token)).rejects.toMatchObject(notValid)
    expect(await store.unwrap(second.token)).toBe('{"data":1}')
  })
})

describe('the JWT form', () => {
  const jwt = () => wrap({ data: 1 }, { format: 'jwt', address: 'https://primary:8200' })

  test('carries the token, the address and the times', async () => {
    const info = await jwt()
    const [header, payload] = info.token
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
    expect(header).toEqual({ alg: 'ES512', typ: 'JWT' })
    expect(payload).toEqual({
      accessor: '',
      addr: 'https://primary:8200',
      exp: 1_700_000_300,
      iat: 1_700_000_000,
      jti: expect.stringMatching(/^hvs\./),
      nbf: 1_699_999_995,
      type: 'wrapping',
    })
    expect(await store.resolve(info.token)).toBe(payload.jti)
    expect(await store.lookup(info.token)).toMatchObject({ creation_ttl: 300 })
    expect(await store.unwrap(info.token)).toBe('{"data":1}')
    await expect(store.unwrap(info.token)).rejects.toMatchObject(notValid)
    await expect(store.unwrap(payload.jti)).rejects.toMatchObject(notValid)
  })

  test('stays a JWT with its address when rewrapped', async () => {
    const { token } = await store.rewrap((await jwt()).token)
    expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())).toMatchObject({
      addr: 'https://primary:8200',
    })
    expect(await store.unwrap(token)).toBe('{"data":1}')
  })

  test('altered, foreign, unsigned, expired or oversized ones are refused', async () => {
    const { token } = await jwt()
    const [header, payload, signature] = token.split('.') as [string, string, string]
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const foreign = memoryStore()
    const foreignStore = wrappingStore({ ...components(), storage: foreign, tokens: fakeTokens(foreign) })
    const stranger = await foreignStore.wrap({ response: {}, ttl: 300, path: 'p', format: 'jwt', address: '' })
    const bad = [
      `${header}.${encode({ ...claims, addr: 'https://evil:8200' })}.${signature}`,
      `${header}.${encode({ ...claims, exp: claims.exp + 1 })}.${signature}`,
      `${encode({ alg: 'none', typ: 'JWT' })}.${payload}.`,
      `${encode({ alg: 'HS512', typ: 'JWT' })}.${payload}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -4)}AAAA`,
      `${header}.${payload}.${Buffer.alloc(132).toString('base64url')}`,
      `${token}.x`,
      `${token}${'x'.repeat(9000)}`,
      stranger.token,
    ]
    for (const forged of bad) {
      await expect(store.unwrap(forged), forged.slice(0, 60)).rejects.toMatchObject(notValid)
    }
    time += 301_000
    await expect(store.resolve(token)).rejects.toMatchObject(notValid)
    time -= 301_000
    expect(await store.unwrap(token)).toBe('{"data":1}')
  })

  test('no JWT is believed before a key exists', async () => {
    await expect(store.resolve('eyJhbGciOiJFUzUxMiJ9.e30.AAAA')).rejects.toMatchObject(notValid)
    expect(await storage.get(JWT_KEY_PATH)).toBeUndefined()
  })

  test('one key, however many ask first; its public half can be had', async () => {
    const pems = await Promise.all(Array.from({ length: 4 }, () => store.publicKeyPem()))
    expect(new Set(pems).size).toBe(1)
    expect(pems[0]).toMatch(/^-----BEGIN PUBLIC KEY-----/)
    expect(await wrappingStore(components()).publicKeyPem()).toBe(pems[0])
  })

  test('other tokens resolve to themselves', async () => {
    expect(await store.resolve('hvs.abc.ns1')).toBe('hvs.abc.ns1')
  })
})

/** Tokens as records in the given store; what lives is known only from there. */
function fakeTokens(barrier: Store) {
  let count = 0
  const entries = new Map<string, TokenEntry>()
  const fake = {
    revoked: [] as string[],
    failRevoke: false,
    async create(token: NewToken, options?: { transaction?: { put: Store['put'] } }): Promise<TokenEntry> {
      const n = ++count
      const entry: TokenEntry = {
        id: `hvs.${n}${Math.random().toString(36).slice(2)}`,
        accessor: `acc${n}`,
        cubbyholeId: `h${n}`,
        creationTime: time,
        orphan: (token.parent ?? '') === '',
        parent: '',
        meta: null,
        displayName: '',
        numUses: 0,
        ttl: 0,
        explicitMaxTtl: 0,
        period: 0,
        type: 'service',
        role: '',
        entityId: '',
        boundCidrs: [],
        renewable: true,
        ...token,
      }
      await options!.transaction!.put(`sys/token/id/${entry.cubbyholeId}`, new TextEncoder().encode(entry.id))
      entries.set(entry.id, entry)
      return entry
    },
    async lookup(id: string): Promise<TokenEntry | undefined> {
      const entry = entries.get(id)
      return entry && (await barrier.get(`sys/token/id/${entry.cubbyholeId}`)) && entry
    },
    async revoke(id: string): Promise<void> {
      if (fake.failRevoke) throw new Error('storage is away')
      const entry = entries.get(id)!
      await barrier.delete(`sys/token/id/${entry.cubbyholeId}`)
      fake.revoked.push(id)
    },
  }
  return fake
}
