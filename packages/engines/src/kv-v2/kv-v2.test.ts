import { stringifyJson } from '@lockstep/backend'
import { backendCompliance } from '@lockstep/backend/compliance'
import { type TestBed, testBed } from '@lockstep/backend/test-bed'
import { parse } from 'lossless-json'
import { beforeEach, describe, expect, it } from 'vitest'
import { kvV2Engine } from './index.ts'

let bed: TestBed
beforeEach(async () => {
  bed = await testBed(kvV2Engine())
})

const put = async (path: string, data: object, options?: object) =>
  (await bed.write(`data/${path}`, { data, ...(options && { options }) }))?.data
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => 'accepted',
    (error) => `${error.code}: ${error.message}`,
  )
const invalid = (message: string) => `BACKEND_INVALID_REQUEST: ${message}`
const time = (ms = bed.clock.now) => new Date(ms).toISOString()

backendCompliance({
  test: it,
  expect,
  factory: kvV2Engine(),
  object: {
    names: ['a', 'b', 'c'],
    path: (name) => `data/${name}`,
    deletePath: (name) => `metadata/${name}`,
    folder: 'metadata/',
    first: { data: { x: 1 } },
    changed: { data: { x: 2 } },
    view: (data) => data.data,
  },
})

describe('data', () => {
  it('answers writes and reads as Vault does', async () => {
    const metadata = { created_time: time(), custom_metadata: null, deletion_time: '', destroyed: false, version: 1 }
    expect(await put('a/b', { x: 1 })).toEqual(metadata)
    expect(await bed.read('data/a/b')).toEqual({ data: { x: 1 }, metadata })
    expect(await bed.request('read', 'data/none')).toBeUndefined()
    expect(await bed.request('read', 'data/a/b', { version: 5 })).toBeUndefined()
    expect((await bed.read('data/a/b', { version: '-1' }))?.data).toEqual({ x: 1 })
    expect(await refusal(bed.write('data/a/b', { x: 1 }))).toBe(invalid('no data provided'))
  })

  it('reads the current version with one get, an older one with two', async () => {
    await put('a', { x: 1 })
    await put('a', { x: 2 })
    bed.storageCalls()
    expect((await bed.read('data/a'))?.data).toEqual({ x: 2 })
    expect(bed.storageCalls()).toEqual({ reads: 1, writes: 0 })
    expect((await bed.read('data/a', { version: 1 }))?.data).toEqual({ x: 1 })
    expect(bed.storageCalls()).toEqual({ reads: 2, writes: 0 })
  })

  it('keeps number text', async () => {
    const text = '{"a":1.00,"b":12345678901234567890,"c":[1e2,{"d":-0}],"e":3}'
    await put('n', parse(text) as object)
    await put('n', { other: 1 })
    expect(stringifyJson((await bed.read('data/n', { version: 1 }))?.data)).toBe(text)
  })

  it('checks and sets', async () => {
    await put('a', { x: 1 }, { cas: 0 })
    const mismatch = invalid('check-and-set parameter did not match the current version')
    expect(await refusal(put('a', { x: 2 }, { cas: 0 }))).toBe(mismatch)
    expect(await refusal(put('b', { x: 2 }, { cas: 1 }))).toBe(mismatch)
    expect((await put('a', { x: 2 }, { cas: '1' }))?.version).toBe(2)
    expect((await put('a', { x: 3 }, parse('{"cas":2}') as object))?.version).toBe(3)
    expect(await refusal(put('a', { x: 2 }, { cas: 1.5 }))).toBe(invalid('error parsing check-and-set parameter'))
    await bed.write('config', { cas_required: true })
    const required = invalid('check-and-set parameter required for this call')
    expect(await refusal(put('a', { x: 4 }))).toBe(required)
    await bed.write('config', { cas_required: false })
    await bed.write('metadata/a', { cas_required: true })
    expect(await refusal(put('a', { x: 4 }))).toBe(required)
    expect((await put('c', { x: 4 }))?.version).toBe(1)
  })

  it('lets exactly one of several concurrent cas writers win', async () => {
    const results = await Promise.all([1, 2, 3, 4, 5].map((x) => refusal(put('race', { x }, { cas: 0 }))))
    expect(results.filter((result) => result === 'accepted')).toHaveLength(1)
    expect((await bed.read('data/race'))?.metadata).toMatchObject({ version: 1 })
  })

  it('loses no concurrent plain write', async () => {
    await Promise.all([1, 2, 3, 4, 5].map((x) => put('race', { x })))
    const seen = await Promise.all([1, 2, 3, 4, 5].map((version) => bed.read('data/race', { version })))
    expect(seen.map((each) => (each?.data as { x: number } | undefined)?.x).sort()).toEqual([1, 2, 3, 4, 5])
  })

  it('keeps the last versions and drops the rest with their data', async () => {
    for (let x = 1; x <= 12; x++) await put('a', { x })
    const metadata = await bed.read('metadata/a')
    expect(metadata).toMatchObject({ current_version: 12, oldest_version: 3 })
    expect(Object.keys(metadata?.versions as object)).toEqual(['3', '4', '5', '6', '7', '8', '9', '10', '11', '12'])
    expect(await bed.request('read', 'data/a', { version: 2 })).toBeUndefined()
    expect(await bed.store.list('version/a/')).toHaveLength(9)
    await bed.write('config', { max_versions: 3 })
    await bed.write('metadata/a', { max_versions: 1 })
    await put('a', { x: 13 })
    expect(await bed.read('metadata/a')).toMatchObject({ oldest_version: 11 })
    await bed.write('config', { max_versions: 0 })
    await put('a', { x: 14 })
    expect(await bed.store.list('version/a/')).toEqual([])
    expect((await bed.read('data/a'))?.data).toEqual({ x: 14 })
  })

  it('patches by RFC 7396', async () => {
    await put('p', { a: { b: 1, c: [1, { z: 1 }] }, d: null, e: 'x' })
    const change = { a: { b: null, n: { q: 1, r: null } }, e: { f: 1 } }
    expect((await bed.request('patch', 'data/p', { data: change }))?.data).toMatchObject({ version: 2 })
    expect((await bed.read('data/p'))?.data).toEqual({ a: { c: [1, { z: 1 }], n: { q: 1 } }, d: null, e: { f: 1 } })
    const mismatch = invalid('check-and-set parameter did not match the current version')
    expect(await refusal(bed.request('patch', 'data/p', { data: {}, options: { cas: 1 } }))).toBe(mismatch)
    expect(await refusal(bed.request('patch', 'data/p', {}))).toBe(invalid('no data provided'))
    expect(await bed.request('patch', 'data/none', { data: {} })).toMatchObject({ status: 404, raw: { body: '' } })
    await bed.request('delete', 'data/p')
    expect(await bed.request('patch', 'data/p', { data: {} })).toMatchObject({
      status: 404,
      data: { version: 2, deletion_time: time() },
    })
  })

  it('keeps a "__proto__" key a key', async () => {
    await put('p', JSON.parse('{"__proto__":{"a":1},"b":1}'))
    await bed.request('patch', 'data/p', { data: JSON.parse('{"__proto__":{"c":2}}') })
    expect(JSON.stringify((await bed.read('data/p'))?.data)).toBe('{"__proto__":{"a":1,"c":2},"b":1}')
  })
})

describe('versions', () => {
  const seen = async (version: number) => {
    const response = await bed.request('read', 'data/a', { version })
    return [response?.status ?? 200, response?.data?.data]
  }
  beforeEach(async () => {
    for (const x of [1, 2, 3]) await put('a', { x })
  })

  it('soft-deletes and brings back', async () => {
    await bed.request('delete', 'data/a')
    await bed.write('delete/a', { versions: '1,99' })
    expect([await seen(1), await seen(2), await seen(3)]).toEqual([
      [404, null],
      [200, { x: 2 }],
      [404, null],
    ])
    expect((await bed.read('metadata/a'))?.versions).toMatchObject({ 1: { deletion_time: time(), destroyed: false } })
    await bed.write('undelete/a', { versions: [1, 3] })
    expect([await seen(1), await seen(3)]).toEqual([
      [200, { x: 1 }],
      [200, { x: 3 }],
    ])
  })

  it('destroys for good, the current one too', async () => {
    await bed.write('destroy/a', { versions: [1, 3] })
    await bed.write('undelete/a', { versions: [1, 3] })
    expect([await seen(1), await seen(3)]).toEqual([
      [404, null],
      [404, null],
    ])
    let stored = ''
    for await (const [key, value] of bed.store.scan()) stored += key + Buffer.from(value).toString()
    expect(stored).toContain('{"x":2}')
    expect(stored).not.toMatch(/"x":[13]/)
    await put('a', { x: 4 })
    expect(await seen(4)).toEqual([200, { x: 4 }])
    expect(await seen(3)).toEqual([404, null])
  })

  it('expires versions after delete_version_after, capped by the mount', async () => {
    await bed.write('metadata/a', { delete_version_after: '3h' })
    await bed.write('config', { delete_version_after: '1h' })
    expect((await put('a', { x: 4 }))?.deletion_time).toBe(time(bed.clock.now + 3_600_000))
    expect(await seen(4)).toEqual([200, { x: 4 }])
    bed.clock.now += 3_600_000
    expect(await seen(4)).toEqual([404, null])
    await bed.write('config', { delete_version_after: '-1s' })
    expect((await put('a', { x: 5 }))?.deletion_time).toBe('')
  })

  it('needs version numbers, ignores unknown keys', async () => {
    for (const [path, message] of [
      ['delete/a', 'No version number provided'],
      ['undelete/a', 'No version number provided'],
      ['destroy/a', 'no version number provided'],
    ] as const) {
      expect(await refusal(bed.write(path))).toBe(invalid(message))
      expect(await bed.write(path.replace('/a', '/none'), { versions: [1] })).toBeUndefined()
    }
    expect(await refusal(bed.request('read', 'delete/a'))).toContain('BACKEND_UNSUPPORTED_OPERATION')
  })
})

describe('metadata', () => {
  it('is written, read, listed and removed with all versions', async () => {
    await put('a', { x: 1 })
    await put('a', { x: 2 })
    await put('a/b', { x: 1 })
    const custom_metadata = { foo: 'bar', n: 1 }
    await bed.write('metadata/a', {
      max_versions: '4',
      cas_required: true,
      delete_version_after: '3h',
      custom_metadata,
    })
    const version = { created_time: time(), deletion_time: '', destroyed: false }
    expect(await bed.read('metadata/a')).toEqual({
      cas_required: true,
      created_time: time(),
      current_version: 2,
      custom_metadata: { foo: 'bar', n: '1' },
      delete_version_after: '3h0m0s',
      max_versions: 4,
      oldest_version: 0,
      updated_time: time(),
      versions: { 1: version, 2: version },
    })
    expect(await bed.list('metadata/')).toEqual(['a', 'a/'])
    expect(await bed.list('metadata/a')).toEqual(['b'])
    await bed.request('delete', 'metadata/a')
    expect(await bed.list('metadata/')).toEqual(['a/'])
    expect(await bed.store.list('version/')).toEqual([])
  })

  it('creates a key only when something is set', async () => {
    await bed.write('metadata/new', {})
    expect(await bed.read('metadata/new')).toBeUndefined()
    await bed.write('metadata/new', { max_versions: 3 })
    expect(await bed.read('metadata/new')).toMatchObject({ current_version: 0, versions: {} })
    expect(await bed.request('read', 'data/new')).toBeUndefined()
    expect(await bed.request('patch', 'data/new', { data: {} })).toMatchObject({ status: 404 })
    expect((await put('new', { x: 1 }))?.version).toBe(1)
  })

  it('patches: merges custom metadata, null resets', async () => {
    await bed.write('metadata/a', { max_versions: 4, cas_required: true, custom_metadata: { foo: 'bar', keep: 'x' } })
    await bed.request('patch', 'metadata/a', { custom_metadata: { foo: null, z: 'y' }, max_versions: null })
    expect(await bed.read('metadata/a')).toMatchObject({
      custom_metadata: { keep: 'x', z: 'y' },
      max_versions: 0,
      cas_required: true,
    })
    await bed.request('patch', 'metadata/a', { custom_metadata: null })
    expect((await bed.read('metadata/a'))?.custom_metadata).toBeNull()
    expect(await bed.request('patch', 'metadata/none', {})).toMatchObject({ status: 404 })
  })

  it('limits custom metadata', async () => {
    const attempt = (custom_metadata: object) => refusal(bed.write('metadata/a', { custom_metadata }))
    const one = (problem: string) => invalid(`1 error occurred:\n\t* custom_metadata validation failed: ${problem}\n\n`)
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'v']))
    expect(await attempt(many)).toBe(one('payload must contain at most 64 keys, provided 65'))
    expect(await attempt({ '': 'v' })).toBe(one('length of key "" is 0 but must be 0 < len(key) <= 128'))
    expect(await attempt({ k: 'x'.repeat(513) })).toBe(
      one('length of value for key "k" is 513 but must be 0 < len(value) <= 512'),
    )
    expect(await attempt({ a: 'x\ny' })).toBe(one('value for key "a" contains unprintable characters'))
    expect(await attempt({ a: { b: 1 } })).toBe(
      invalid(
        "custom_metadata validation failed: '' expected type 'string', got unconvertible type 'map[string]interface {}'",
      ),
    )
    await bed.write('metadata/a', { custom_metadata: Object.fromEntries(Object.entries(many).slice(0, 64)) })
    expect(await refusal(bed.request('patch', 'metadata/a', { custom_metadata: { more: 'x' } }))).toContain(
      'at most 64',
    )
  })
})

describe('the rest', () => {
  it('shows subkeys to a depth', async () => {
    await put('s', { a: { b: { c: 1 }, d: [1] }, e: 'x', f: {} })
    expect((await bed.read('subkeys/s'))?.subkeys).toEqual({ a: { b: { c: null }, d: null }, e: null, f: null })
    expect((await bed.read('subkeys/s', { depth: 1 }))?.subkeys).toEqual({ a: null, e: null, f: null })
    expect((await bed.read('subkeys/s', { depth: 2 }))?.subkeys).toEqual({ a: { b: null, d: null }, e: null, f: null })
    expect(await bed.request('read', 'subkeys/none')).toBeUndefined()
    await bed.request('delete', 'data/s')
    expect(await bed.request('read', 'subkeys/s')).toMatchObject({ status: 404, data: { subkeys: null } })
  })

  it('configures the mount', async () => {
    expect(await bed.read('config')).toEqual({ cas_required: false, delete_version_after: '0s', max_versions: 0 })
    await bed.write('config', { delete_version_after: '90m', max_versions: 5 })
    expect(await bed.read('config')).toEqual({ cas_required: false, delete_version_after: '1h30m0s', max_versions: 5 })
    expect(await refusal(bed.write('config', { max_versions: 'abc' }))).toContain('Field validation failed')
  })

  it('tells users of version 1 paths', async () => {
    const response = await bed.request('read', 'a/b')
    expect(response).toMatchObject({ status: 404 })
    expect(response?.warnings?.[0]).toContain("use 'vault kv get' for this operation")
    expect((await bed.request('read', 'data'))?.warnings?.[0]).toContain('Non-listing operations on the root')
  })

  it('heeds a replicated config once invalidated', async () => {
    const other = await testBed(kvV2Engine(), { store: bed.store })
    await put('a', { x: 1 })
    await other.write('config', { cas_required: true })
    bed.backend.invalidate?.('config')
    expect(await refusal(put('a', { x: 2 }))).toBe(invalid('check-and-set parameter required for this call'))
  })
})
