import { stringifyJson } from '@lockstep/backend'
import { backendCompliance } from '@lockstep/backend/compliance'
import { testBed } from '@lockstep/backend/test-bed'
import { parse } from 'lossless-json'
import { expect, it } from 'vitest'
import { kvEngine, kvV1Engine } from '../index.ts'

backendCompliance({
  test: it,
  expect,
  factory: kvV1Engine(),
  object: {
    names: ['a', 'b', 'c'],
    path: (name) => name,
    folder: '',
    first: { x: 1 },
    changed: { x: 2 },
    view: (data) => data,
  },
})

it('keeps number text, nests folders', async () => {
  const bed = await testBed(kvV1Engine())
  await bed.write('a/b', parse('{"x":1.0}') as Record<string, unknown>)
  await bed.write('a', { x: null })
  expect(stringifyJson(await bed.read('a/b'))).toBe('{"x":1.0}')
  expect(await bed.list('')).toEqual(['a', 'a/'])
  expect(await bed.list('a')).toEqual(['b'])
})

it.each([
  ['{"ttl":"1h"}', 3600],
  ['{"lease":"30m"}', 1800],
  ['{"ttl":90}', 90],
  ['{"ttl":"bogus"}', 2_764_800],
  ['{"x":1}', 2_764_800],
  ['{"ttl":null}', 0],
  ['{"ttl":""}', 0],
  ['{"ttl":"1h","lease":"2h"}', 3600],
])('shows %s as a lease of %i', async (text, seconds) => {
  const bed = await testBed(kvV1Engine())
  await bed.write('a', parse(text) as Record<string, unknown>)
  expect(await bed.request('read', 'a')).toMatchObject({ leaseDuration: seconds })
})

it('refuses empty secrets', async () => {
  const bed = await testBed(kvV1Engine())
  await expect(bed.write('a', {})).rejects.toMatchObject({ message: 'missing data fields' })
})

it('is what kv without a version means', async () => {
  const one = await testBed(kvEngine())
  await one.write('a', { x: 1 })
  expect(await one.read('a')).toEqual({ x: 1 })
  const two = await testBed(kvEngine(), { options: { version: '2' } })
  await two.write('data/a', { data: { x: 1 } })
  expect((await two.read('data/a'))?.data).toEqual({ x: 1 })
  await expect(testBed(kvEngine(), { options: { version: '3' } })).rejects.toMatchObject({
    code: 'BACKEND_INVALID_REQUEST',
  })
})
