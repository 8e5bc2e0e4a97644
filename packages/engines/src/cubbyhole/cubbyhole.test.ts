import { backendCompliance } from '@lockstep/backend/compliance'
import { testBed, testCaller } from '@lockstep/backend/test-bed'
import { expect, it } from 'vitest'
import { cubbyholeEngine } from './index.ts'

backendCompliance({
  test: it,
  expect,
  factory: cubbyholeEngine(),
  object: {
    names: ['a', 'b', 'c'],
    path: (name) => name,
    folder: '',
    first: { x: 1 },
    changed: { x: 2 },
    view: (data) => data,
  },
})

it('keeps callers apart', async () => {
  const bed = await testBed(cubbyholeEngine())
  await bed.write('a/b', { x: 1 })
  const caller = { ...testCaller, cubbyholeId: 'other' }
  expect(await bed.request('read', 'a/b', {}, { caller })).toBeUndefined()
  expect(await bed.request('list', '', {}, { caller })).toBeUndefined()
  await bed.request('delete', 'a/b', {}, { caller })
  expect(await bed.read('a/b')).toEqual({ x: 1 })
  expect(await bed.list('')).toEqual(['a/'])
  expect(await bed.store.list('')).toEqual(['test-cubbyhole/'])
})

it('refuses batch tokens and callers without a token', async () => {
  const bed = await testBed(cubbyholeEngine())
  const message = "cubbyhole operations are only supported by 'service' type tokens"
  const batch = { ...testCaller, type: 'batch' as const, cubbyholeId: '' }
  for (const operation of ['read', 'update', 'delete', 'list'] as const) {
    await expect(bed.request(operation, 'a', { x: 1 }, { caller: batch })).rejects.toMatchObject({
      code: 'BACKEND_INVALID_REQUEST',
      message,
    })
  }
  await expect(bed.backend.handle({ ...request, path: 'a' })).rejects.toMatchObject({ message })
  await expect(bed.write('a', {})).rejects.toMatchObject({ message: 'missing data fields' })
})

const request = {
  id: '1',
  operation: 'read' as const,
  data: {},
  mountPoint: 'cubbyhole/',
  mountAccessor: 'cubbyhole_1',
  headers: {},
  remoteAddress: '127.0.0.1',
  wrapTtl: 0,
  storage: {} as never,
}
