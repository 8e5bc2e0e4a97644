// Both ends of forwarding inside a cluster, over links in memory: what is answered, what is sent again, and what never is.
import { createNodeCa, fingerprint } from '@lockstep/bootstrap'
import type { Message } from '@lockstep/replication'
import { type ClusterProtocol, type MemoryLinkPair, memoryLinkPair } from '@lockstep/replication-transport'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { CoreError } from '../../src/contracts.ts'
import { forwardingClient } from '../../src/ha/forwarding-client.ts'
import { forwardingServer } from '../../src/ha/forwarding-server.ts'
import { type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from '../../src/ha/http.ts'
import type { Leader } from '../../src/ha/leader-watch.ts'
import type { NodeTrust } from '../../src/ha/node-trust.ts'
import { encodeRequest, parseAnswer, parseRequest } from '../../src/ha/wire.ts'
import { waitFor } from '../cluster.ts'

const clock = { now: Date.now }
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const about = { apiAddress: 'http://b:1', clusterAddress: 'https://b:2', hostname: 'b', version: '1' }
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (body: Uint8Array): string => new TextDecoder().decode(body)

let trust: NodeTrust
beforeAll(async () => {
  const ca = await createNodeCa({ id: 'test', now: Date.now() })
  trust = { ca, fingerprint: fingerprint(ca.certificatePem), advertisementKey: new Uint8Array(32) }
})

const request = (url: string, body: string | Uint8Array = ''): ForwardedRequest => ({
  ...{ method: 'PUT', url, headers: ['X-Vault-Token', 't'], body: typeof body === 'string' ? bytes(body) : body },
  ...{ remoteAddress: '10.1.2.3', remotePort: 4, deadline: Date.now() + 30_000 },
})

type Handle = (request: ForwardedRequest) => Promise<ForwardedAnswer>
const echo: Handle = async ({ url, body }) => ({ status: 200, headers: ['A', url], body })

/** Nodes by their cluster address, each with its handler; `lead` says who leads. */
async function cluster(
  handlers: Record<string, Handle>,
  clientClock: { now(): number } = clock,
  lose: (message: Message) => boolean = () => false,
) {
  const servers = new Map<string, { protocol: ClusterProtocol; stop(): Promise<void>; echoes(): unknown[] }>()
  const pairs: MemoryLinkPair[] = []
  const received: Message[] = []
  for (const [name, handle] of Object.entries(handlers)) {
    let protocol!: ClusterProtocol
    const closing: (() => void)[] = []
    const listener = {
      register(given: ClusterProtocol) {
        protocol = {
          ...given,
          onLink(link) {
            closing.push(() => link.close('over'))
            given.onLink(link)
          },
        }
        return {
          disconnect() {},
          links: () => [],
          async unregister() {
            for (const close of closing) close()
          },
        }
      },
    }
    const modes = async () => ({ performance: 'disabled', dr: 'disabled' })
    const server = await forwardingServer({ listener, trust, handle, modes, clock, log: silent }, { term: name })
    servers.set(name, { protocol, stop: server.stop, echoes: server.echoes })
  }
  let leading = Object.keys(handlers)[0]
  let here = false
  let broken = false
  let dials = 0
  const reachable = new Set(Object.keys(handlers))
  const leader = (): Leader | undefined =>
    leading === undefined
      ? undefined
      : {
          ...{ apiAddress: `http://${leading}:1`, clusterAddress: leading, term: leading },
          ...{ ca: trust.fingerprint, activeSince: 0, trust },
        }
  const client = forwardingClient({
    watch: {
      async current() {
        if (broken) throw new Error('the storage does not answer')
        return leader()
      },
    },
    ...{ about, clock: clientClock, log: silent, graceMs: 50 },
    standsBy: () => !here,
    here: async () => ({ status: 299, headers: [], body: bytes('here') }),
    async dial({ addresses }) {
      dials++
      const [name] = addresses as [string]
      if (!reachable.has(name)) throw new Error('refused')
      const pair = memoryLinkPair({
        peers: ['standby', name],
        drop: (message, from) => {
          if (from === 0) received.push(message)
          return lose(message)
        },
      })
      pairs.push(pair)
      servers.get(name)!.protocol.onLink(pair.ends[1])
      return pair.ends[0]
    },
  })
  return {
    ...{ client, servers, pairs, received, reachable },
    dials: () => dials,
    lead: (name: string | undefined) => {
      leading = name
    },
    breakWatch: () => {
      broken = true
    },
    becomeActive: () => {
      here = true
    },
  }
}

/** A handler whose requests end when the test says so. */
function held() {
  const waiting: { url: string; end(answer?: ForwardedAnswer): void; fail(error: Error): void }[] = []
  const handle: Handle = (given) =>
    new Promise((resolve, reject) => {
      waiting.push({
        url: given.url,
        end: (answer) => resolve(answer ?? { status: 204, headers: [], body: bytes('') }),
        fail: reject,
      })
    })
  return { waiting, handle }
}

test('many requests share a connection, and each gets its own answer, whole', async () => {
  const asked: ForwardedRequest[] = []
  const { client, dials } = await cluster({
    a: async (given) => {
      asked.push(given)
      // The first to come are the last to be answered.
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 20 - asked.length)))
      return echo(given)
    },
  })
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) => client.forward(request(`/v1/kv/${n}`, `body ${n}`))),
  )
  for (const [n, answer] of answers.entries()) {
    const { status, headers, body } = answer as ForwardedAnswer
    expect([status, headers, text(body)]).toEqual([200, ['A', `/v1/kv/${n}`], `body ${n}`])
  }
  expect(asked[0]).toMatchObject({
    method: 'PUT',
    remoteAddress: '10.1.2.3',
    remotePort: 4,
    headers: ['X-Vault-Token', 't'],
  })
  expect(dials()).toBeLessThanOrEqual(2)
})

test('a request whose connection breaks before the answer fails, and is not sent again', async () => {
  const first = held()
  let others = 0
  const { client, pairs, lead } = await cluster({
    a: first.handle,
    b: async (given) => {
      others++
      return echo(given)
    },
  })
  const lost = client.forward(request('/v1/kv/a'))
  await waitFor('the request', async () => first.waiting.length === 1)
  lead('b')
  pairs[0]!.cut()
  await expect(lost).rejects.toMatchObject({ code: 'CORE_UNAVAILABLE', message: expect.stringContaining('not known') })
  expect([first.waiting.length, others]).toEqual([1, 0])
  // The next one goes to the new active node.
  expect(await client.forward(request('/v1/kv/b'))).toMatchObject({ status: 200 })
})

test('a paused leader: once another leads, it may answer for a moment, then requests that wait for it fail', async () => {
  const paused = held()
  const { client, lead } = await cluster({ a: paused.handle, b: echo })
  const [answered, lost] = [client.forward(request('/v1/kv/a')), client.forward(request('/v1/kv/b'))]
  await waitFor('the requests', async () => paused.waiting.length === 2)
  lead('b')
  await client.keep()
  paused.waiting[0]!.end()
  expect(await answered).toMatchObject({ status: 204 })
  await Promise.all([expect(lost).rejects.toMatchObject({ code: 'CORE_UNAVAILABLE' }), client.keep()])
  expect(await client.forward(request('/v1/kv/b'))).toMatchObject({ status: 200 })
})

test('what a node refused because it does not lead is asked of the next one', async () => {
  let refused = 0
  const { client, lead } = await cluster({
    a: async () => {
      refused++
      lead('b')
      throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
    },
    b: echo,
  })
  expect(await client.forward(request('/v1/kv/a', 'x'))).toEqual({
    status: 200,
    headers: ['A', '/v1/kv/a'],
    body: Buffer.from('x'),
  })
  expect(refused).toBe(1)
})

test('a node that stops leading answers what it has taken; what comes after goes to the next one', async () => {
  const old = held()
  const { client, servers, lead } = await cluster({ a: old.handle, b: echo })
  const taken = client.forward(request('/v1/kv/a'))
  await waitFor('the request', async () => old.waiting.length === 1)
  const stopped = servers.get('a')!.stop()
  const late = client.forward(request('/v1/kv/b', 'late'))
  lead('b')
  old.waiting[0]!.end()
  expect(await taken).toMatchObject({ status: 204 })
  expect(text(((await late) as ForwardedAnswer).body)).toBe('late')
  await stopped
  expect(old.waiting).toHaveLength(1)
})

test('an answer that fails on the active node is an error, not sent again', async () => {
  let times = 0
  const { client } = await cluster({
    a: async () => {
      times++
      throw new Error('a secret detail')
    },
  })
  await expect(client.forward(request('/v1/kv/a'))).rejects.toMatchObject({
    code: 'CORE_INTERNAL',
    message: 'internal error',
  })
  expect(times).toBe(1)
})

test('out of reach: the client is sent there itself', async () => {
  const { client, reachable, dials } = await cluster({ a: echo })
  reachable.clear()
  expect(await client.forward(request('/v1/kv/a'))).toEqual({ redirect: 'http://a:1' })
  // Not dialled for every request.
  const before = dials()
  for (let n = 0; n < 5; n++) await client.forward(request('/v1/kv/a'))
  expect(dials()).toBe(before)
})

test('nobody leads: a request waits for a while, for another node or this one', async () => {
  const { client, lead, becomeActive } = await cluster({ a: echo })
  lead(undefined)
  await expect(client.forward(request('/v1/kv/a'), { holdMs: 0 })).rejects.toMatchObject({ code: 'CORE_STANDBY' })
  const waits = client.forward(request('/v1/kv/a'))
  lead('a')
  expect(await waits).toMatchObject({ status: 200 })
  client.close('test')
  lead(undefined)
  const alsoWaits = client.forward(request('/v1/kv/a'))
  becomeActive()
  expect(await alsoWaits).toMatchObject({ status: 299 })
})

test('limits: bodies that are too large are redirected, answers that are fail, and so does one request too many', async () => {
  const slow = held()
  const { client } = await cluster({
    a: async ({ url, body }) =>
      url === '/v1/large'
        ? { status: 200, headers: [], body: new Uint8Array(HTTP_LIMITS.bodyBytes + 1) }
        : slow.handle(request(url, body)),
  })
  const large = new Uint8Array(HTTP_LIMITS.bodyBytes + 1)
  expect(await client.forward(request('/v1/a', large))).toEqual({ redirect: 'http://a:1' })
  await expect(client.forward(request('/v1/large'))).rejects.toMatchObject({ code: 'CORE_INTERNAL' })
  const waiting = Array.from({ length: 1024 }, () => client.forward(request('/v1/a')))
  await expect(client.forward(request('/v1/a'))).rejects.toMatchObject({ code: 'CORE_UNAVAILABLE' })
  // A link is read on only as requests end.
  let most = 0
  for (let done = 0; done < 1024; done++) {
    await waitFor('a request', async () => slow.waiting.length > done)
    most = Math.max(most, slow.waiting.length - done)
    slow.waiting[done]!.end()
  }
  expect(most).toBeGreaterThan(1)
  expect(most).toBeLessThanOrEqual(512)
  await Promise.all(waiting)
})

test('echoes tell the active node who stands by', async () => {
  const { client, servers } = await cluster({ a: echo })
  expect(client.lastEcho()).toBe(0)
  await client.keep()
  await waitFor('the echo', async () => client.lastEcho() > 0)
  expect(servers.get('a')!.echoes()).toMatchObject([about])
})

test('an echo that is lost with its connection is followed by another', async () => {
  let now = Date.now()
  let cut = true
  const { client, pairs, servers } = await cluster({ a: echo }, { now: () => now }, (message) => {
    return cut && message.type === 'request' && message.method === 'echo'
  })
  await client.keep()
  await waitFor('a connection', async () => pairs.length === 1)
  pairs[0]!.cut()
  cut = false
  for (let n = 0; n < 5 && client.lastEcho() === 0; n++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    await client.keep()
  }
  await waitFor('the echo', async () => client.lastEcho() > 0)
  expect(servers.get('a')!.echoes()).toHaveLength(1)
  // And one every five seconds: none too early, no connection given up.
  const opened = pairs.length
  for (let n = 0; n < 10; n++) {
    now += 5000
    await client.keep()
    await waitFor('the next echo', async () => client.lastEcho() === now)
  }
  expect(pairs).toHaveLength(opened)
})

test('an active node that answers no echo is given up', async () => {
  let now = Date.now()
  const stuck = held()
  const { client } = await cluster({ a: stuck.handle }, { now: () => now }, (message) => {
    return message.type === 'request' && message.method === 'echo'
  })
  const lost = client.forward(request('/v1/kv/a'))
  await waitFor('the request', async () => stuck.waiting.length === 1)
  await client.keep()
  now += 29_000
  await client.keep()
  now += 2000
  await Promise.all([expect(lost).rejects.toMatchObject({ code: 'CORE_UNAVAILABLE' }), client.keep()])
})

test('a storage that cannot be asked who leads: what is connected is used, else a request waits and fails', async () => {
  const { client, breakWatch, pairs } = await cluster({ a: echo })
  await client.forward(request('/v1/kv/a'))
  breakWatch()
  expect(await client.forward(request('/v1/kv/a'))).toMatchObject({ status: 200 })
  pairs[0]!.cut()
  await new Promise((resolve) => setTimeout(resolve, 10))
  await expect(client.forward(request('/v1/kv/a'), { holdMs: 250 })).rejects.toMatchObject({ code: 'CORE_STANDBY' })
})

test('whatever a standby says, the active node refuses or understands it, and serves the others', async () => {
  const plain = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom('', '/v1/a', 'GET', '\r\n', 'x'.repeat(600)),
      fc.integer(),
      fc.constant(null),
      fc.boolean(),
      fc.uint8Array({ maxLength: 8 }),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(
        fc.constantFrom('method', 'url', 'headers', 'body', 'remoteAddress', 'remotePort', 'withinMs'),
        tie('value'),
      ),
    ),
  })).value
  const good = encodeRequest(request('/v1/kv/a', 'x'), Date.now()) as Record<string, never>
  const mutated = fc
    .tuple(fc.constantFrom(...Object.keys(good)), plain)
    .map(([name, value]) => ({ ...good, [name]: value }))
  fc.assert(
    fc.property(fc.oneof(plain, mutated), (body) => {
      let parsed: ForwardedRequest
      try {
        parsed = parseRequest(body as never, 0)
      } catch (error) {
        expect((error as Error).message).toMatch(/^malformed message between nodes: \w+$/)
        return
      }
      expect(parsed.method).toMatch(/^[A-Z]+$/)
      expect(parsed.url).toMatch(/^\/[^\s]*$/)
      expect(parsed.headers.join('')).not.toMatch(/[\r\n]/)
    }),
    { numRuns: 2000 },
  )
  expect(() => parseAnswer({ status: 100, headers: [], body: bytes('') })).toThrow('status')
  const { servers, client } = await cluster({ a: echo })
  const pair = memoryLinkPair()
  servers.get('a')!.protocol.onLink(pair.ends[1])
  pair.ends[0].send({ type: 'request', id: 1, method: 'forward', body: { method: 'GET' } })
  pair.ends[0].send({ type: 'request', id: 2, method: 'else', body: null })
  const answers: Message[] = []
  for await (const message of pair.ends[0].messages) if (answers.push(message) === 2) break
  expect(answers).toMatchObject([1, 2].map((id) => ({ id, body: null, error: { code: 'failed', message: '' } })))
  expect(await client.forward(request('/v1/kv/a'))).toMatchObject({ status: 200 })
})

test('a deadline later than nodes tell each other of is cut, not refused', () => {
  const now = Date.now()
  const sent = encodeRequest({ ...request('/v1/kv/a'), deadline: now + 30 * HTTP_LIMITS.withinMs }, now)
  expect(parseRequest(sent, now).deadline).toBe(now + HTTP_LIMITS.withinMs)
})
