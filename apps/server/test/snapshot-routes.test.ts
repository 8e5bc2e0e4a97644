// The routes of snapshots: bodies of any size and for as long as it takes, in both directions.
import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { CoreError } from '@lockstep/core'
import { afterEach, expect, test } from 'vitest'
import { listening } from './client.ts'
import { type FakeCore, fakeCore } from './fake-core.ts'

let server: Awaited<ReturnType<typeof listening>> | undefined
afterEach(async () => {
  await server?.app.close(0)
  server = undefined
})
async function start(core: FakeCore, options: Parameters<typeof listening>[1] = {}) {
  server = await listening(core, { maxRequestSize: 1000, ...options })
  return server
}
function ask(method: string, path = 'sys/storage/snapshot'): ClientRequest {
  return request({
    port: server!.port,
    host: '127.0.0.1',
    method,
    path: `/v1/${path}`,
    headers: { 'x-vault-token': 't' },
  })
}
async function answered(
  outgoing: ClientRequest,
): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  const body = Buffer.concat(await incoming.toArray()).toString()
  return { status: incoming.statusCode!, headers: incoming.headers, body }
}

test('a body far over max_request_size reaches the core as it comes, with nothing of it in the data', async () => {
  const core = fakeCore()
  let [size, largest] = [0, 0]
  core.answer = async ({ body, data, path, clientToken }) => {
    expect([data, path, clientToken]).toEqual([{}, 'sys/storage/raft/snapshot-force', 't'])
    for await (const chunk of body!) {
      size += chunk.byteLength
      largest = Math.max(largest, chunk.byteLength)
    }
    return { status: 204 }
  }
  await start(core)
  const outgoing = ask('POST', 'sys/storage/raft/snapshot-force')
  const sending = Readable.from(
    (function* () {
      for (let n = 0; n < 100; n++) yield Buffer.alloc(100_000)
    })(),
  ).pipe(outgoing)
  expect((await answered(sending)).status).toBe(204)
  expect(size).toBe(10_000_000)
  expect(largest).toBeLessThan(1_000_000)
})

test('neither max_request_duration nor the time for a request to arrive cut it short; other requests they do', async () => {
  const core = fakeCore()
  core.answer = async ({ body }) => {
    if (body !== undefined) for await (const _ of body);
    return { status: 204 }
  }
  const { app } = await start(core, { maxRequestDuration: 500 })
  // Looked at every five seconds.
  app.server.requestTimeout = 1000
  const slow = ask('POST')
  const usual = ask('POST', 'secret/a')
  const ended = answered(slow)
  const refused = answered(usual)
  slow.write('a')
  usual.write('{')
  expect((await refused).status).toBeGreaterThanOrEqual(408)
  await sleep(6_500)
  slow.end('b')
  expect((await ended).status).toBe(204)
}, 60_000)

test('a refusal is read by a client that is still sending', async () => {
  const core = fakeCore()
  core.answer = async () => {
    throw new CoreError('CORE_PERMISSION_DENIED', 'permission denied')
  }
  await start(core)
  const outgoing = ask('POST')
  const refused = answered(outgoing)
  outgoing.write(Buffer.alloc(3_000_000))
  outgoing.end()
  expect(await refused).toMatchObject({ status: 403, body: expect.stringContaining('permission denied') })
})

test('a body that breaks off is an error to the core', async () => {
  const core = fakeCore()
  const seen = new Promise<unknown>((resolve) => {
    core.answer = async ({ body }) => {
      try {
        for await (const _ of body!);
      } catch (error) {
        resolve(error)
      }
      return { status: 204 }
    }
  })
  await start(core)
  const outgoing = ask('POST')
  outgoing.on('error', () => {})
  outgoing.setHeader('content-length', 100)
  outgoing.write('abc')
  await once(outgoing, 'socket')
  await sleep(100)
  outgoing.destroy()
  expect(await seen).toMatchObject({ code: 'CORE_INVALID_REQUEST', message: 'the snapshot broke off before its end' })
})

test('an answer is sent as it is made; a client that hangs up ends it', async () => {
  const core = fakeCore()
  const bodies: PassThrough[] = []
  core.answer = () => {
    const body = new PassThrough()
    bodies.push(body)
    return { status: 200, stream: { contentType: 'application/gzip', body } }
  }
  await start(core)
  const outgoing = ask('GET')
  outgoing.end()
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  expect(incoming.headers).toMatchObject({ 'content-type': 'application/gzip', 'cache-control': 'no-store' })
  expect(incoming.headers['content-length']).toBeUndefined()
  const chunks = incoming[Symbol.asyncIterator]()
  bodies[0]!.write('first')
  expect(String((await chunks.next()).value)).toBe('first')
  bodies[0]!.end('last')
  expect(String((await chunks.next()).value)).toBe('last')
  expect((await chunks.next()).done).toBe(true)

  const second = ask('GET')
  second.end()
  const [left] = (await once(second, 'response')) as [IncomingMessage]
  left.on('error', () => {})
  bodies[1]!.on('error', () => {})
  const closed = new Promise((resolve) => bodies[1]!.on('close', resolve))
  second.destroy()
  await closed
})

test('a path with an encoded slash is answered with the archive as well, which is not left open', async () => {
  const core = fakeCore()
  const body = new PassThrough()
  core.answer = () => ({ status: 200, stream: { contentType: 'application/gzip', body } })
  await start(core)
  body.end('archive')
  expect(await answered(ask('GET', 'sys%2Fstorage/snapshot').end())).toMatchObject({ status: 200, body: 'archive' })
  await expect.poll(() => body.destroyed, { timeout: 60_000 }).toBe(true)
})

test('an archive that fails on its way ends the connection: the client sees that it is not whole', async () => {
  const core = fakeCore()
  const body = new PassThrough()
  core.answer = () => ({ status: 200, stream: { contentType: 'application/gzip', body } })
  await start(core)
  const outgoing = ask('GET')
  outgoing.end()
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  body.write('part')
  await once(incoming, 'data')
  const failed = once(incoming, 'error')
  body.destroy(new Error('the storage is away'))
  await failed
  expect(incoming.complete).toBe(false)
})

test('other verbs, and namespaces, are refused', async () => {
  await start(fakeCore())
  for (const [method, path] of [
    ['DELETE', 'sys/storage/snapshot'],
    ['GET', 'sys/storage/snapshot-force'],
  ] as const) {
    const outgoing = ask(method, path)
    outgoing.end()
    expect((await answered(outgoing)).status).toBe(405)
  }
  const outgoing = ask('GET')
  outgoing.setHeader('x-vault-namespace', 'team')
  outgoing.end()
  expect((await answered(outgoing)).status).toBe(400)
})
