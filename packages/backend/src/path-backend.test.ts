import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  BackendError,
  type BackendRequest,
  type BackendStorage,
  field,
  type Operation,
  path,
  pathBackend,
} from './index.ts'

function request(operation: Operation, requestPath: string, data: Record<string, unknown> = {}): BackendRequest {
  return {
    id: '1',
    operation,
    path: requestPath,
    data,
    mountPoint: 'x/',
    mountAccessor: 'x_1',
    headers: {},
    remoteAddress: '127.0.0.1',
    wrapTtl: 0,
    storage: {} as BackendStorage,
  }
}

const backend = pathBackend({
  type: 'test',
  special: { sudo: ['root/*'] },
  paths: [
    path('', { operations: { list: () => ({ data: { at: 'mount' } }) } }),
    path('users', { operations: { list: () => ({ data: { at: 'users' } }) } }),
    path('users/:name', {
      help: 'A user.',
      fields: { ttl: field.duration({ default: 60, description: 'Life.' }), note: field.string() },
      operations: {
        read: (r) => {
          expectTypeOf(r.params).toEqualTypeOf<{ readonly name: string }>()
          expectTypeOf(r.field.ttl).toEqualTypeOf<number>()
          expectTypeOf(r.field.note).toEqualTypeOf<string | undefined>()
          return { data: { ...r.params, ...r.field } }
        },
        update: (r) => ({ data: { wrote: r.params.name, as: r.operation } }),
      },
      exists: (r) => r.params.name === 'alice',
    }),
    path('users/:name/keys/:id', { operations: { read: (r) => ({ data: r.params }) } }),
    path('users/admin/:what*', { operations: { read: (r) => ({ data: r.params }) } }),
    path('data/:path*', { operations: { read: (r) => ({ data: r.params }), list: (r) => ({ data: r.params }) } }),
    path('strict', { fields: { input: field.string({ required: true }) }, operations: { update: () => undefined } }),
  ],
})

const data = async (operation: Operation, requestPath: string, body?: Record<string, unknown>) =>
  (await backend.handle(request(operation, requestPath, body)))?.data

async function failure(operation: Operation, requestPath: string, body?: Record<string, unknown>) {
  const error = await backend.handle(request(operation, requestPath, body)).then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(BackendError)
  return [error.code, error.message]
}

describe('pathBackend', () => {
  it('matches one segment, the rest, and literals first', async () => {
    expect(await data('read', 'users/bob')).toMatchObject({ name: 'bob' })
    expect(await data('read', 'users/bob/keys/7')).toEqual({ name: 'bob', id: '7' })
    expect(await data('read', 'users/admin/a/b')).toEqual({ what: 'a/b' })
    expect(await data('read', 'users/admin')).toMatchObject({ name: 'admin' })
    expect(await data('read', 'data/a/b c/d')).toEqual({ path: 'a/b c/d' })
  })

  it('goes back from a dead literal to a parameter', async () => {
    expect(await data('read', 'users/admin/keys/7')).toEqual({ what: 'keys/7' })
    expect(await failure('read', 'users/bob/keys')).toEqual(['BACKEND_UNSUPPORTED_PATH', 'unsupported path'])
  })

  it('lists folders with or without the trailing slash', async () => {
    expect(await data('list', '')).toEqual({ at: 'mount' })
    expect(await data('list', 'users/')).toEqual({ at: 'users' })
    expect(await data('list', 'users')).toEqual({ at: 'users' })
    expect(await data('list', 'data/a/')).toEqual({ path: 'a' })
  })

  it('refuses unknown paths and operations', async () => {
    for (const unknown of ['nothing', 'users/', 'data', 'data/']) {
      expect(await failure('read', unknown)).toEqual(['BACKEND_UNSUPPORTED_PATH', 'unsupported path'])
    }
    expect(await failure('delete', 'users/bob')).toEqual(['BACKEND_UNSUPPORTED_OPERATION', 'unsupported operation'])
  })

  it('sends create to update and answers the existence check', async () => {
    expect(await data('create', 'users/bob')).toEqual({ wrote: 'bob', as: 'create' })
    expect(await backend.exists?.(request('update', 'users/alice'))).toBe(true)
    expect(await backend.exists?.(request('update', 'users/bob'))).toBe(false)
    expect(await backend.exists?.(request('update', 'data/x'))).toBeUndefined()
  })

  it('converts fields, gives defaults, ignores the unknown', async () => {
    expect(await data('read', 'users/bob', { ttl: '1h', extra: 1 })).toEqual({
      name: 'bob',
      ttl: 3600,
      note: undefined,
    })
    expect(await data('read', 'users/bob', { note: 7 })).toEqual({ name: 'bob', ttl: 60, note: '7' })
    expect(await failure('read', 'users/bob', { ttl: 'abc' })).toEqual([
      'BACKEND_INVALID_REQUEST',
      'Field validation failed: error converting input for field "ttl": time: invalid duration "abc"',
    ])
    expect(await failure('update', 'strict')).toEqual(['BACKEND_INVALID_REQUEST', 'missing input'])
  })

  it('helps', async () => {
    const help = JSON.parse(String((await backend.handle(request('help', 'users/bob')))?.raw?.body))
    expect(help.help).toContain('A user.')
    expect(help.help).toContain('ttl (duration (sec))')
  })

  it('refuses ambiguous or malformed patterns', () => {
    const make = (...patterns: string[]) =>
      pathBackend({ type: 'x', paths: patterns.map((pattern) => path(pattern, { operations: {} })) })
    expect(() => make('a/:b', 'a/:c')).toThrow('declared twice')
    expect(() => make('a/:b*', 'a/:c*')).toThrow('declared twice')
    expect(() => make('a/:b*/c')).toThrow('malformed')
    expect(() => make('/a')).toThrow('malformed')
  })
})
