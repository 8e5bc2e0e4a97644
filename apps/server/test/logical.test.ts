import { CoreError } from '@lockstep/core'
import { LosslessNumber } from 'lossless-json'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { errorCode } from '../src/http/error-reply.ts'
import { listening } from './client.ts'
import { envelope, fakeCore } from './fake-core.ts'

const core = fakeCore()
const echo = core.answer
let server: Awaited<ReturnType<typeof listening>>
beforeAll(async () => {
  server = await listening(core)
})
afterAll(() => server.app.close(0))
beforeEach(() => {
  core.answer = echo
  core.requests.length = 0
  server.log.lines.length = 0
})
const last = () => core.requests.at(-1)!

describe('translation of a request', () => {
  test.each([
    ['GET', 'read'],
    ['POST', 'update'],
    ['PUT', 'update'],
    ['DELETE', 'delete'],
  ])('%s is %s', async (method, operation) => {
    const body = method === 'POST' || method === 'PUT' ? '{"a":1}' : undefined
    expect((await server.send('/v1/secret/data/x', { method, body })).status).toBe(200)
    expect(last()).toMatchObject({ operation, path: 'secret/data/x', data: body ? { a: 1 } : {} })
  })

  test('carries id, token, address, headers and deadline', async () => {
    const headers = { 'X-Vault-Token': 'hvs.a', Authorization: 'Bearer other', 'X-Custom': 'x' }
    const before = Date.now()
    const reply = await server.send('/v1/a', { headers })
    expect(last()).toMatchObject({ clientToken: 'hvs.a', remoteAddress: '127.0.0.1', wrapTtl: 0, wrapFormat: '' })
    expect(last().headers['x-custom']).toBe('x')
    expect(last().remotePort).toBeGreaterThan(0)
    expect(last().deadline! - before).toBeGreaterThanOrEqual(90_000)
    expect(last().id).toMatch(/^[0-9a-f-]{36}$/)
    expect((reply.json as { request_id: string }).request_id).toBe(last().id)
  })

  test.each([
    [{ Authorization: 'Bearer hvs.b' }, 'hvs.b'],
    [{ Authorization: 'Basic hvs.b' }, ''],
    [{}, ''],
    [{ 'X-Vault-Token': '', Authorization: 'Bearer hvs.b' }, 'hvs.b'],
  ])('token of %j', async (headers, token) => {
    await server.send('/v1/a', { headers: headers as Record<string, string> })
    expect(last().clientToken).toBe(token)
  })

  test.each([
    ['60', 60],
    ['1h30m', 5400],
    ['0', 0],
  ])('wrap TTL %s', async (text, seconds) => {
    await server.send('/v1/a', { headers: { 'X-Vault-Wrap-TTL': text, 'X-Vault-Wrap-Format': 'jwt' } })
    expect(last()).toMatchObject({ wrapTtl: seconds, wrapFormat: seconds ? 'jwt' : '' })
  })

  test.each(['abc', '-5', '5x'])('bad wrap TTL %s', async (text) => {
    const reply = await server.send('/v1/a', { headers: { 'X-Vault-Wrap-TTL': text } })
    expect(reply.status).toBe(400)
    expect((reply.json as { errors: string[] }).errors[0]).toMatch(/^error parsing X-Vault-Wrap-TTL header: /)
    expect(core.requests).toEqual([])
  })

  test('query parameters of reads, lists and deletes are data; several values are a list', async () => {
    await server.send('/v1/a?version=2&x=1&x=2&__proto__=p')
    expect(last().data.version).toBe('2')
    expect(last().data.x).toEqual(['1', '2'])
    expect(Object.getPrototypeOf(last().data)).toBe(Object.prototype)
    expect(Object.hasOwn(last().data, '__proto__')).toBe(true)
    await server.send('/v1/a?versions=1', { method: 'DELETE' })
    expect(last().data).toEqual({ versions: '1' })
    await server.send('/v1/a?ignored=1', { method: 'POST', body: '{}' })
    expect(last().data).toEqual({})
  })

  test('list=true is a list and appends the slash', async () => {
    await server.send('/v1/secret/metadata?list=true&after=x')
    expect(last()).toMatchObject({ operation: 'list', path: 'secret/metadata/', data: { after: 'x' } })
    await server.send('/v1/secret/metadata/?list=1')
    expect(last()).toMatchObject({ operation: 'list', path: 'secret/metadata/' })
    await server.send('/v1/secret/metadata?list=false')
    expect(last()).toMatchObject({ operation: 'read', path: 'secret/metadata' })
    expect(await server.send('/v1/a?list=maybe')).toMatchObject({ status: 400, json: { errors: [] } })
  })

  test('help=1 asks for help', async () => {
    core.answer = () => ({ status: 200, bare: { help: 'text', see_also: null } })
    expect((await server.send('/v1/secret/x?help=1')).json).toEqual({ help: 'text', see_also: null })
    expect(last()).toMatchObject({ operation: 'help', data: {} })
  })

  test('PATCH needs its content type', async () => {
    const patch = (type: string | undefined) =>
      server.send('/v1/a', { method: 'PATCH', body: '{"a":null}', headers: type ? { 'Content-Type': type } : {} })
    expect((await patch('application/merge-patch+json; charset=utf-8')).status).toBe(200)
    expect(last()).toMatchObject({ operation: 'patch', data: { a: null } })
    for (const type of ['application/json', undefined]) expect((await patch(type)).status).toBe(415)
    expect(core.requests.length).toBe(1)
  })

  test('unsupported verbs', async () => {
    expect(await server.send('/v1/a', { method: 'HEAD' })).toMatchObject({ status: 405, text: '' })
    expect(await server.send('/v1/a', { method: 'PROPFIND' })).toMatchObject({ status: 405, json: { errors: [] } })
    expect(await server.send('/v1/a', { method: 'OPTIONS' })).toMatchObject({ status: 400 })
    expect(core.requests).toEqual([])
  })

  test('long and encoded paths', async () => {
    const long = 'x'.repeat(3000)
    await server.send(`/v1/secret/${long}`)
    expect(last().path).toBe(`secret/${long}`)
    await server.send('/v1/secret/a%20b%2Fc/%C3%A9%25?x=%2B+')
    expect(last()).toMatchObject({ path: 'secret/a b/c/é%', data: { x: '+ ' } })
    await server.send("/v1/secret/a+b;c=d'~!$&()*,:@")
    expect(last().path).toBe("secret/a+b;c=d'~!$&()*,:@")
  })

  test.each(['/v1/a%01b', '/v1/a%zz', '/v1/a%ff', '/v1/a%E2%80%A8', '/v1/%2e%2e/b', '/v1/a/%2e'])(
    'refuses %s',
    async (path) => {
      expect((await server.send(path)).status).toBe(400)
      expect(core.requests).toEqual([])
    },
  )

  test.each([
    ['/v1/secret//a?x=1', '/v1/secret/a?x=1'],
    ['//v1/a', '/v1/a'],
    ['/v1/a/../b/', '/v1/b/'],
    ['/v1/./a', '/v1/a'],
    ['/v1/..', '/'],
    ['/../../etc', '/etc'],
    ['/', '/ui/'],
  ])('%s redirects to %s', async (path, location) => {
    const reply = await server.send(path, { method: 'GET' })
    expect([reply.status, reply.headers.location]).toEqual([307, location])
  })

  test('a redirect never leaves the server', async () => {
    for (const path of ['//evil.example/x', '///evil.example', '/\\evil.example/..//x']) {
      const { status, headers } = await server.send(path)
      if (status === 307) expect(String(headers.location)).toMatch(/^\/(?![/\\])/)
      else expect(status).toBe(404)
    }
  })

  test('writes to a path ending in a slash', async () => {
    const reply = await server.send('/v1/a/', { method: 'POST', body: '{}' })
    expect(reply).toMatchObject({ status: 400, json: { errors: ["cannot write to a path ending in '/'"] } })
  })

  test('namespaces', async () => {
    for (const name of ['root', '/', 'root/']) {
      const reply = await server.send('/v1/a', { headers: { 'X-Vault-Namespace': name } })
      expect([reply.status, reply.headers['x-vault-namespace']]).toEqual([200, name])
    }
    const reply = await server.send('/v1/a', { headers: { 'X-Vault-Namespace': 'team' } })
    expect(reply).toMatchObject({ status: 404, json: { errors: ['namespace not found'] } })
    expect(reply.headers['x-vault-namespace']).toBe('team')
  })

  test('outside /v1', async () => {
    for (const path of ['/foo', '/v1', '/v2/a', '/ui/']) {
      expect(await server.send(path)).toMatchObject({ status: 404, json: { errors: [] } })
    }
  })
})

describe('replies', () => {
  const standard = {
    'cache-control': 'no-store',
    'content-type': 'application/json',
    'strict-transport-security': 'max-age=31536000; includeSubDomains',
  }

  test('the envelope with all its keys', async () => {
    core.answer = () => ({ status: 200, envelope: envelope({ a: 'é' }) })
    const reply = await server.send('/v1/a')
    expect(reply.headers).toMatchObject(standard)
    expect(reply.json).toEqual({
      request_id: 'id',
      lease_id: '',
      renewable: false,
      lease_duration: 0,
      data: { a: 'é' },
      wrap_info: null,
      warnings: null,
      auth: null,
    })
  })

  test('injected data does not replace envelope keys', async () => {
    core.answer = () => ({
      status: 200,
      injectData: true,
      envelope: envelope({ 'secret/': { type: 'kv' }, lease_id: 'spoof' }),
    })
    expect((await server.send('/v1/sys/mounts')).json).toMatchObject({
      'secret/': { type: 'kv' },
      lease_id: '',
      data: { lease_id: 'spoof' },
    })
  })

  test('204, bare, raw, own headers and statuses', async () => {
    core.answer = () => ({ status: 204 })
    const empty = await server.send('/v1/a', { method: 'DELETE' })
    expect([empty.status, empty.text, empty.headers['content-type'], empty.headers['content-length']]).toEqual([
      204,
      '',
      'application/json',
      undefined,
    ])
    core.answer = () => ({ status: 202, headers: { 'X-Vault-Index': 'v1' }, envelope: envelope(null) })
    const accepted = await server.send('/v1/a')
    expect([accepted.status, accepted.headers['x-vault-index']]).toEqual([202, 'v1'])
    core.answer = () => ({ status: 200, raw: { contentType: 'application/pkix-cert', body: new Uint8Array([1, 255]) } })
    const raw = await server.send('/v1/pki/ca')
    expect([raw.headers['content-type'], raw.headers['content-length'], raw.headers['cache-control']]).toEqual([
      'application/pkix-cert',
      '2',
      'no-store',
    ])
    core.answer = () => ({ status: 404, envelope: envelope({ data: null }) })
    expect(await server.send('/v1/a')).toMatchObject({ status: 404, json: { data: { data: null } } })
  })

  test('number text survives both ways', async () => {
    const body =
      '{"a":1.0,"b":12345678901234567890,"c":-0,"d":1e3,"e":[0.10,5],"s":"at 1.0","n":{"isLosslessNumber":true,"value":"7,\\"x\\":1"}}'
    const reply = await server.send('/v1/a', { method: 'POST', body })
    expect(reply.text).toContain(`"data":${body}`)
    core.answer = () => ({ status: 200, envelope: envelope({ n: new LosslessNumber('1.50') as unknown as string }) })
    expect((await server.send('/v1/a')).text).toContain('"data":{"n":1.50}')
  })

  test.each([
    ['CORE_INVALID_REQUEST', 400],
    ['CORE_PERMISSION_DENIED', 403],
    ['CORE_NOT_FOUND', 404],
    ['CORE_UNSUPPORTED_OPERATION', 405],
    ['CORE_INDEX_NOT_PRESENT', 412],
    ['CORE_SEALED', 503],
    ['CORE_STANDBY', 503],
    ['CORE_UNAVAILABLE', 503],
    ['CORE_INTERNAL', 500],
  ] as const)('%s is %i', async (code, status) => {
    core.answer = () => {
      throw new CoreError(code, 'said "so"')
    }
    expect(await server.send('/v1/a')).toMatchObject({ status, json: { errors: ['said "so"'] }, headers: standard })
    core.answer = () => Promise.reject(new CoreError(code, ''))
    expect(await server.send('/v1/a')).toMatchObject({ status, json: { errors: [] } })
  })

  test('names the state it was given in, also when nothing is there', async () => {
    core.answer = () => ({ status: 204, index: 'aW5kZXg=' })
    expect((await server.send('/v1/a')).headers['x-vault-index']).toBe('aW5kZXg=')
    core.answer = () => ({ status: 200, index: 'aW5kZXg=', raw: { contentType: 'text/plain', body: 'raw' } })
    expect((await server.send('/v1/a')).headers['x-vault-index']).toBe('aW5kZXg=')
    core.answer = () => {
      throw Object.assign(new CoreError('CORE_NOT_FOUND', ''), { index: 'aW5kZXg=' })
    }
    expect(await server.send('/v1/a')).toMatchObject({ status: 404, headers: { 'x-vault-index': 'aW5kZXg=' } })
    core.answer = () => ({ status: 204 })
    expect((await server.send('/v1/a')).headers).not.toHaveProperty('x-vault-index')
  })

  test('several states in headers of one name, as clients send them, come as a list', async () => {
    await server.send('/v1/a', { headers: { 'X-Vault-Index': ['one', 'two'] as never } })
    expect(last().headers['x-vault-index']).toBe('one, two')
  })

  test('a standby sends the client to the active node', async () => {
    core.answer = () => {
      throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
    }
    core.leaderBody = { is_self: false, leader_address: 'https://active:8200/' }
    const reply = await server.send('/v1/a%20b?x=1')
    expect([reply.status, reply.headers.location]).toEqual([307, 'https://active:8200/v1/a%20b?x=1'])
    core.leaderBody = { is_self: false, leader_address: '' }
    expect((await server.send('/v1/a')).status).toBe(503)
  })

  test('an unforeseen error tells the client and the log nothing of the data', async () => {
    core.answer = () => JSON.parse('{"password":"hunter2"')
    expect(await server.send('/v1/a')).toMatchObject({ status: 500, json: { errors: ['internal error'] } })
    expect(server.log.lines[0]).toMatchObject({ level: 'error', fields: { error: 'SyntaxError' } })
    expect(JSON.stringify(server.log.lines)).not.toContain('hunter2')
    core.answer = () => {
      throw Object.assign(new Error('disk full at key x'), { code: 'ENOSPC' })
    }
    await server.send('/v1/a')
    expect(server.log.lines[1]!.fields).toMatchObject({ code: 'ENOSPC', reason: 'disk full at key x' })
    core.answer = () => Promise.reject('a string')
    expect((await server.send('/v1/a')).status).toBe(500)
    expect(errorCode('x')).toBeUndefined()
  })
})
