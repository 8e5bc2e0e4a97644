import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { createReplicationCa, issuePrimaryServer, issueSecondary } from '@lockstep/bootstrap'
import { afterEach, describe, expect, test } from 'vitest'
import type { HttpOptions } from '../src/http/app.ts'
import { listening, type Reply, rawExchange } from './client.ts'
import { envelope, fakeCore } from './fake-core.ts'

const core = fakeCore()
const echo = core.answer
let open: { app: { close(limitMs: number): Promise<void> } }[] = []
afterEach(async () => {
  core.answer = echo
  core.requests.length = 0
  await Promise.all(open.map(({ app }) => app.close(0)))
  open = []
})
async function start(options: HttpOptions = {}) {
  const server = await listening(core, options)
  open.push(server)
  return server
}
const errors = (reply: Reply) => (reply.json as { errors: string[] }).errors

describe('the LIST verb', () => {
  const list = 'LIST /v1/secret/metadata HTTP/1.1\r\nHost: x\r\nX-Vault-Token: t\r\n\r\n'
  const get = 'GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n'
  const operations = () => core.requests.map(({ operation, path }) => `${operation} ${path}`)

  test('is a list', async () => {
    const { port } = await start()
    expect(await rawExchange(port, [list])).toMatch(/^HTTP\/1.1 200/)
    expect(core.requests).toMatchObject([{ operation: 'list', path: 'secret/metadata/', clientToken: 't' }])
  })

  test('works again and again on one connection, between others, and pipelined', async () => {
    const { port } = await start()
    const expected = [
      'read other',
      'list secret/metadata/',
      'list secret/metadata/',
      'read other',
      'list secret/metadata/',
    ]
    for (const chunks of [[get, list, list, get, list], [get + list + list + get + list]]) {
      core.requests.length = 0
      const text = await rawExchange(port, chunks, 5)
      expect(text.match(/HTTP\/1.1 200/g)?.length).toBe(5)
      expect(operations()).toEqual(expected)
    }
  })

  test.each([1, 2, 3, 4, 5, 20])('cut after %i bytes', async (bytes) => {
    const { port } = await start()
    expect(await rawExchange(port, [list.slice(0, bytes), list.slice(bytes)])).toMatch(/^HTTP\/1.1 200/)
    expect(operations()).toEqual(['list secret/metadata/'])
  })

  test('cut at every byte', async () => {
    const { port } = await start()
    expect(await rawExchange(port, [get, ...list.slice(0, 8), list.slice(8)], 2)).toMatch(
      /HTTP\/1.1 200[\s\S]*HTTP\/1.1 200/,
    )
    expect(operations()).toEqual(['read other', 'list secret/metadata/'])
  })

  test('is left alone inside a body', async () => {
    const { port } = await start()
    const body = '{"a":"LIST /v1/x"}'
    await rawExchange(
      port,
      [`POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n{"a":"`, 'LIST /v1/x"}', list],
      2,
    )
    expect(core.requests[0]!.data).toEqual({ a: 'LIST /v1/x' })
    expect(operations()[1]).toBe('list secret/metadata/')
  })

  test('other unknown verbs are 405, garbage is 400, and the server goes on', async () => {
    const { port, send } = await start()
    expect(await rawExchange(port, ['FOO /v1/a HTTP/1.1\r\n\r\n'])).toMatch(/^HTTP\/1.1 405[\s\S]*\{"errors":\[\]\}/)
    expect(await rawExchange(port, ['LISP /v1/a HTTP/1.1\r\n\r\n'])).toMatch(/^HTTP\/1.1 405/)
    expect(await rawExchange(port, ['GET /v1/a HTTP/9.9\r\n\r\n'])).toMatch(/^HTTP\/1.1 400/)
    expect(await rawExchange(port, [`GET /v1/a HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`])).toMatch(
      /^HTTP\/1.1 431/,
    )
    expect(
      await rawExchange(port, [
        'POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n',
      ]),
    ).toMatch(/^HTTP\/1.1 400/)
    expect((await send('/v1/a')).status).toBe(200)
    expect(core.requests.length).toBe(1)
  })
})

describe('listener options', () => {
  test('require_request_header', async () => {
    const { send } = await start({ requireRequestHeader: true })
    expect((await send('/v1/a')).status).toBe(412)
    expect((await send('/v1/sys/health', { headers: { 'X-Vault-Request': 'no' } })).status).toBe(412)
    expect((await send('/v1/a', { headers: { 'X-Vault-Request': 'true' } })).status).toBe(200)
  })

  test('disable_replication_status_endpoints', async () => {
    const { send } = await start({ disableReplicationStatus: true })
    for (const path of ['status', 'performance/status', 'dr/status']) {
      expect(await send(`/v1/sys/replication/${path}`)).toMatchObject({
        status: 404,
        json: { errors: ['disabled path'] },
      })
    }
    expect((await send('/v1/sys/replication/dr/primary/enable')).status).toBe(200)
  })

  test('custom_response_headers', async () => {
    const customHeaders = {
      default: { 'X-A': '1', 'Strict-Transport-Security': 'max-age=1' },
      '4xx': { 'X-A': '2' },
      '404': { 'X-A': '3' },
    }
    const { send } = await start({ customHeaders })
    expect((await send('/v1/a')).headers).toMatchObject({ 'x-a': '1', 'strict-transport-security': 'max-age=1' })
    expect((await send('/v1/a', { method: 'HEAD' })).headers['x-a']).toBe('2')
    expect((await send('/nowhere')).headers['x-a']).toBe('3')
  })

  test('X-Forwarded-For', async () => {
    const from = async (options: Partial<NonNullable<HttpOptions['forwardedFor']>>, header?: string) => {
      const forwardedFor = {
        authorizedAddrs: ['127.0.0.0/8'],
        hopSkips: 0,
        rejectNotPresent: true,
        rejectNotAuthorized: true,
        ...options,
      }
      const { send } = await start({ forwardedFor })
      const reply = await send('/v1/a', { headers: header === undefined ? {} : { 'X-Forwarded-For': header } })
      return reply.status === 200 ? core.requests.at(-1)!.remoteAddress : errors(reply)[0]
    }
    expect(await from({}, '192.0.2.1, 198.51.100.7')).toBe('198.51.100.7')
    expect(await from({ hopSkips: 1 }, '192.0.2.1, 198.51.100.7')).toBe('192.0.2.1')
    expect(await from({ hopSkips: 2 }, '192.0.2.1, 198.51.100.7')).toMatch(/^malformed x-forwarded-for/)
    expect(await from({}, 'unknown')).toMatch(/^malformed/)
    expect(await from({}, '2001:db8::1')).toBe('2001:db8::1')
    expect(await from({})).toMatch(/^missing x-forwarded-for header/)
    expect(await from({ rejectNotPresent: false })).toBe('127.0.0.1')
    expect(await from({ authorizedAddrs: ['192.0.2.0/24'] }, '198.51.100.7')).toMatch(/^client address not authorized/)
    expect(await from({ authorizedAddrs: ['192.0.2.0/24'], rejectNotAuthorized: false }, '198.51.100.7')).toBe(
      '127.0.0.1',
    )
    expect(await from({ authorizedAddrs: [] }, '198.51.100.7')).toBe('127.0.0.1')
  })

  test('max_request_duration', async () => {
    core.answer = () => new Promise(() => {})
    const { send } = await start({ maxRequestDuration: 100 })
    expect(await send('/v1/a')).toMatchObject({ status: 503, json: { errors: ['request timed out'] } })
  })
})

test('TLS: a wrong client is refused, LIST works, plain HTTP is dropped', async () => {
  const now = Date.now()
  const ca = await createReplicationCa({ clusterId: 'tls', now })
  const server = await issuePrimaryServer(ca, { now })
  const client = await issueSecondary(ca, { id: 'c', now })
  const tls = {
    cert: server.certificatePem,
    key: server.privateKeyPem,
    ca: ca.certificatePem,
    requestCert: true,
    rejectUnauthorized: true,
  }
  const { port, send, app } = await start({ tls })
  const { connect: dial } = await import('node:tls')
  const options = { host: '127.0.0.1', port, servername: 'tls.replication.lockstep', ca: ca.certificatePem }
  const talk = (credentials: object) =>
    new Promise<string>((resolve) => {
      const socket = dial({ ...options, ...credentials }, () =>
        socket.write('LIST /v1/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      )
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk
      })
      socket.on('error', () => resolve('refused'))
      socket.on('close', () => resolve(text))
    })
  expect(await talk({ cert: client.certificatePem, key: client.privateKeyPem })).toMatch(/^HTTP\/1.1 200/)
  expect(core.requests).toMatchObject([{ operation: 'list', path: 'a/' }])
  expect(await talk({})).toBe('refused')
  await expect(send('/v1/a')).rejects.toThrow()
  expect((app.server.address() as AddressInfo).port).toBe(port)
})

describe('shutdown', () => {
  test('requests in flight finish, new connections are refused, idle ones end', async () => {
    const server = await listening(core)
    let finish: () => void = () => {}
    core.answer = () =>
      new Promise((resolve) => {
        finish = () => resolve({ status: 200, envelope: envelope({ done: true }) })
      })
    const idle = connect(server.port, '127.0.0.1')
    await once(idle, 'connect')
    const slow = server.send('/v1/slow')
    while (core.requests.length === 0) await new Promise((wait) => setTimeout(wait, 5))
    const closed = server.app.close(5_000)
    await once(idle, 'close')
    await expect(server.send('/v1/new')).rejects.toThrow()
    finish()
    expect((await slow).json).toMatchObject({ data: { done: true } })
    await closed
  })

  test('a request that does not finish is cut after the limit', async () => {
    core.answer = () => new Promise(() => {})
    const server = await listening(core)
    const slow = expect(server.send('/v1/slow')).rejects.toThrow()
    while (core.requests.length === 0) await new Promise((wait) => setTimeout(wait, 5))
    await server.app.close(50)
    await slow
  })
})
