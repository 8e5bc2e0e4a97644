// A standby's HTTP: what it answers itself, what it forwards, and that the client cannot tell the difference.
import { CoreError, type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from '@lockstep/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { devListener } from '../src/config/listener-config.ts'
import { loadConfig } from '../src/config/load-config.ts'
import type { HttpOptions } from '../src/http/app.ts'
import { serverLog } from '../src/logging/server-log.ts'
import { startServer } from '../src/start-server.ts'
import { type Init, listening, type Reply, rawExchange } from './client.ts'
import { type FakeCore, fakeCore } from './fake-core.ts'

type Server = Awaited<ReturnType<typeof listening>>

const LEADER = { ha_enabled: true, is_self: false, leader_address: 'https://active:8200/' }
const ANSWER: ForwardedAnswer = {
  status: 200,
  headers: ['Content-Type', 'application/json', 'X-Vault-Index', 'place', 'Content-Length', '3', 'Connection', 'close'],
  body: Buffer.from('{}\n'),
}

let core: FakeCore
let server: Server
let forwarded: ForwardedRequest[]
let answer: (request: ForwardedRequest) => Promise<ForwardedAnswer | { redirect: string }>

async function start(options: HttpOptions = {}): Promise<void> {
  server = await listening(core, options)
}

beforeEach(() => {
  forwarded = []
  answer = async () => ANSWER
  core = fakeCore()
  core.leaderBody = LEADER
  core.state = 'standby'
  core.answer = () => {
    throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
  }
  core.standsBy = () => true
  core.forward = (request) => {
    forwarded.push(request)
    return answer(request)
  }
})
afterEach(() => server.app.close(0))

describe('a standby', () => {
  beforeEach(() => start())

  test.each([
    ['GET', '/v1/sys/health', 429],
    ['HEAD', '/v1/sys/health', 429],
    ['GET', '/v1/sys/leader', 200],
    ['GET', '/v1/sys/seal-status', 200],
    ['GET', '/v1/sys/init', 200],
    ['PUT', '/v1/sys/unseal', 200],
    ['GET', '/v1/sys/metrics', 400],
    ['PUT', '/v1/sys/step-down', 204],
    ['GET', '/v1/sys/step-down', 405],
    ['PUT', '/v1/sys/seal', 500],
    ['DELETE', '/v1/sys/seal', 405],
    ['GET', '/', 307],
    ['GET', '/other', 404],
  ])('answers itself: %s %s', async (method, path, status) => {
    expect((await server.send(path, { method })).status).toBe(status)
    expect(forwarded).toEqual([])
  })

  test('does not seal, in the words of Vault', async () => {
    const reply = await server.send('/v1/sys/seal', { method: 'PUT' })
    expect(reply.json).toEqual({ errors: ['vault cannot seal when in standby mode; please restart instead'] })
  })

  test.each(['/v1/sys/ha-status', '/v1/sys/generate-root/attempt', '/v1/sys/rekey/init', '/v1/sys/mounts', '/v1/kv/a'])(
    'forwards %s',
    async (path) => {
      expect((await server.send(path)).status).toBe(200)
      expect(forwarded.map(({ url }) => url)).toEqual([path])
    },
  )

  test('forwards the request whole: verb, target, headers, body as it came, and whose it is', async () => {
    const body = '{"big": 12345678901234567890, "half": "\ud83d'
    const headers = { 'X-Vault-Token': 't', 'X-Custom': 'v', Connection: 'keep-alive', 'Transfer-Encoding': 'chunked' }
    const reply = await server.send('/v1/kv/a%20b?x=1&x=2', { method: 'PUT', headers, body })
    expect(reply).toMatchObject({ status: 200, text: '{}\n', headers: { 'x-vault-index': 'place' } })
    const [{ method, url, headers: sent, ...rest }] = forwarded as [ForwardedRequest]
    expect([method, url, Buffer.from(rest.body).toString()]).toEqual([
      'PUT',
      '/v1/kv/a%20b?x=1&x=2',
      Buffer.from(body).toString(),
    ])
    expect(sent).toEqual(expect.arrayContaining(['X-Vault-Token', 't', 'X-Custom', 'v', 'Host']))
    expect(sent.join().toLowerCase()).not.toMatch(/connection|transfer-encoding|content-length/)
    expect(rest).toMatchObject({ remoteAddress: '127.0.0.1', remotePort: expect.any(Number) })
    expect(rest.deadline).toBeGreaterThan(Date.now())
    expect(rest.deadline).toBeLessThanOrEqual(Date.now() + 90_000)
  })

  test('redirects who asks for it, what is too large, and what is streamed, with nothing read', async () => {
    const location = 'https://active:8200/v1/kv/a?x=1'
    const asked = await server.send('/v1/kv/a?x=1', { headers: { 'X-Vault-No-Request-Forwarding': 'true' } })
    expect([asked.status, asked.headers.location]).toEqual([307, location])
    const large = {
      method: 'PUT',
      headers: { 'Content-Length': String(HTTP_LIMITS.bodyBytes + 1), Expect: '100-continue' },
    }
    const head = Object.entries(large.headers).map(([name, value]) => `${name}: ${value}`)
    const text = await rawExchange(
      server.port,
      [`PUT /v1/kv/a?x=1 HTTP/1.1\r\nHost: a\r\n${head.join('\r\n')}\r\n\r\n`],
      1,
    )
    expect(text).toContain(`Location: ${location}`)
    expect((await server.send('/v1/sys/storage/snapshot')).status).toBe(307)
    expect((await server.send('/v1/sys/storage/raft/snapshot')).status).toBe(307)
    expect(forwarded).toEqual([])
    core.leaderBody = { ...LEADER, leader_address: '' }
    const nobody = await server.send('/v1/kv/a', { headers: { 'X-Vault-No-Request-Forwarding': 'true' } })
    expect(nobody).toMatchObject({ status: 503, json: { errors: ['no active Vault instance found'] } })
  })

  test('redirects where forwarding is impossible; an answer that was lost is an error, not a redirect', async () => {
    answer = async () => ({ redirect: 'https://there:1' })
    const reply = await server.send('/v1/kv/a?x=1')
    expect([reply.status, reply.headers.location]).toEqual([307, 'https://there:1/v1/kv/a?x=1'])
    const failures: [CoreError, number][] = [
      [new CoreError('CORE_STANDBY', 'local node not active but active cluster node not found'), 503],
      [new CoreError('CORE_UNAVAILABLE', 'lost'), 503],
      [new CoreError('CORE_INTERNAL', 'internal error'), 500],
    ]
    for (const [error, status] of failures) {
      answer = () => Promise.reject(error)
      expect(await server.send('/v1/kv/a', { method: 'PUT' })).toMatchObject({
        status,
        json: { errors: [error.message] },
      })
    }
  })

  test('a replication status is answered where the active node is out of reach', async () => {
    core.storedStatus = async (path) => ({ mode: 'primary', path })
    answer = async () => ({ redirect: 'https://there:1' })
    const reply = await server.send('/v1/sys/replication/dr/status')
    const data = { mode: 'primary', path: 'sys/replication/dr/status' }
    expect(reply).toMatchObject({ status: 200, json: { data, lease_id: '', warnings: null } })
    answer = () => Promise.reject(new CoreError('CORE_STANDBY', 'nobody'))
    expect((await server.send('/v1/sys/replication/dr/status')).json).toMatchObject({ data })
    answer = async () => ANSWER
    expect((await server.send('/v1/sys/replication/dr/status')).text).toBe('{}\n')
  })
})

test("a listener's own rules hold on a standby: limits, hidden status, required header, the client's address behind a proxy", async () => {
  const proxies = { authorizedAddrs: ['127.0.0.1'], hopSkips: 0, rejectNotPresent: false, rejectNotAuthorized: true }
  await start({ maxRequestSize: 10, disableReplicationStatus: true, requireRequestHeader: true, forwardedFor: proxies })
  const headers = { 'X-Vault-Request': 'true' }
  expect((await server.send('/v1/kv/a')).status).toBe(412)
  expect((await server.send('/v1/kv/a', { method: 'PUT', headers, body: 'x'.repeat(11) })).status).toBe(413)
  expect(await server.send('/v1/sys/replication/status', { headers })).toMatchObject({ status: 404 })
  expect(forwarded).toEqual([])
  await server.send('/v1/kv/a', { headers: { ...headers, 'X-Forwarded-For': '203.0.113.7' } })
  expect(forwarded[0]!.remoteAddress).toBe('203.0.113.7')
})

describe('forwarded and direct', () => {
  let active: Server
  let other: FakeCore

  beforeEach(async () => {
    other = fakeCore()
    active = await listening(other)
    answer = active.app.dispatch
    await start()
  })
  afterEach(() => active.app.close(0))

  const comparable = ({ status, headers, text }: Reply): unknown => {
    const { date, connection, 'keep-alive': alive, ...rest } = headers
    return { status, headers: rest, text: text.replace(/"request_id":"[^"]*"/, '') }
  }
  const json = (body: string, over: Init = {}): Init => ({ method: 'PUT', body, ...over })
  const cases: [string, Init?][] = [
    ['/v1/kv/a'],
    ['/v1/kv/a%20b%C3%A9?x=1&x=2'],
    ['/v1/kv?list=true'],
    ['/v1/kv?list=perhaps'],
    ['/v1/kv', { method: 'LIST' }],
    ['/v1/kv/a?help=1'],
    ['/v1/kv/a', { method: 'DELETE' }],
    ['/v1/kv/a', { method: 'HEAD' }],
    ['/v1/kv/a', { method: 'OPTIONS' }],
    ['/v1/kv/a', json('{"big": 12345678901234567890}')],
    ['/v1/kv/a', json('{"broken"')],
    ['/v1/kv/a', json('a=1&b=2', { headers: { 'Content-Type': 'application/x-www-form-urlencoded' } })],
    ['/v1/kv/', json('{}')],
    ['/v1/kv/a', json('{}', { method: 'PATCH' })],
    ['/v1/kv/a', json('{"a":1}', { method: 'PATCH', headers: { 'Content-Type': 'application/merge-patch+json' } })],
    ['/v1/kv/a', { headers: { 'X-Vault-Namespace': 'team' } }],
    ['/v1/kv/a', { headers: { 'X-Vault-Namespace': 'root' } }],
    ['/v1/kv/a', { headers: { 'X-Vault-Wrap-TTL': 'never' } }],
    ['/v1/kv//a?x=1'],
    ['/v1/sys/generate-root/attempt'],
    ['/v1/sys/generate-root/attempt', { method: 'DELETE' }],
    ['/v1/sys/generate-root/attempt', { method: 'PATCH' }],
  ]

  test.each(cases)('%s %o', async (path, init) => {
    const [direct, through] = [await active.send(path, init), await server.send(path, init)]
    expect(comparable(through)).toEqual(comparable(direct))
    const [one, two] = other.requests.slice(-2)
    const shape = (request: typeof one): unknown => {
      const { id, deadline, remotePort, headers, ...rest } = request ?? ({} as never)
      const { host, connection, 'transfer-encoding': chunked, 'content-length': length, ...sent } = headers ?? {}
      return { ...rest, headers: sent }
    }
    if (two !== undefined) expect(shape(two)).toEqual(shape(one))
  })

  test.each([
    ['a raw answer', { status: 200, raw: { contentType: 'application/jose', body: 'a.b.c' } }],
    ['bytes', { status: 200, raw: { contentType: 'application/octet-stream', body: Uint8Array.of(0, 255, 13, 10) } }],
    ['nothing', { status: 204 }],
    ['headers of its own and a state', { status: 404, headers: { 'X-Of-Mount': 'v' }, bare: {}, index: 'state' }],
  ])('%s', async (_, response) => {
    other.answer = () => response
    const [direct, through] = [await active.send('/v1/kv/a'), await server.send('/v1/kv/a')]
    expect(comparable(through)).toEqual(comparable(direct))
  })

  test('a request to a node that leads no longer is given back, not redirected from there', async () => {
    other.answer = () => {
      throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
    }
    other.leaderBody = LEADER
    await expect(active.app.dispatch(forwardedRequest('/v1/kv/a'))).rejects.toMatchObject({ code: 'CORE_STANDBY' })
    expect(active.app.inFlight.count).toBe(0)
  })

  test("the standby's deadline counts, and the shorter one of the active node", async () => {
    other.answer = () => new Promise(() => {})
    const begun = Date.now()
    const { status, body } = await active.app.dispatch({ ...forwardedRequest('/v1/kv/a'), deadline: begun + 300 })
    expect([status, Buffer.from(body).toString()]).toEqual([503, '{"errors":["request timed out"]}\n'])
    expect(Date.now() - begun).toBeLessThan(60_000)
  })

  function forwardedRequest(url: string): ForwardedRequest {
    return {
      ...{ method: 'GET', url, headers: ['X-Vault-Token', 't'], body: new Uint8Array() },
      ...{ remoteAddress: '10.0.0.1', remotePort: 1, deadline: Date.now() + 30_000 },
    }
  }
})

test("forwarded requests may take as long as the active node's listeners say", async () => {
  await start()
  const other = fakeCore()
  other.answer = () => new Promise(() => {})
  let serve: ((request: ForwardedRequest) => Promise<ForwardedAnswer>) | undefined
  other.serveForwarded = (given) => {
    serve = given
  }
  const listener = { ...devListener('127.0.0.1:0'), maxRequestDuration: 1000 }
  const { config } = await loadConfig([], {}, { storage: { type: 'inmem' }, listener })
  const log = serverLog({ level: 'error', format: 'json', stream: { write() {} } })
  const running = await startServer(config, async () => other, log)
  // Its own default would be 90 s.
  const deadline = Date.now() + 3_600_000
  const { status } = await serve!({
    ...{ method: 'GET', url: '/v1/kv/a', headers: [], body: new Uint8Array() },
    ...{ remoteAddress: '10.0.0.1', remotePort: 1, deadline },
  })
  expect(status).toBe(503)
  await running.close(0)
})
