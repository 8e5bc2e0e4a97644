import assert from 'node:assert/strict'
import type { Link, Message } from '@lockstep/replication'

export interface LinkFixture {
  ends: readonly [Link, Link]
  /** Breaks the connection without either end closing it. */
  cut(): void
  /** Called after each test. */
  dispose?(): Promise<void>
}

export interface LinkComplianceOptions {
  /** Registers a test: `test` of vitest, node:test, and so on. */
  test: (name: string, body: () => Promise<void>) => unknown
  /** Makes a fresh pair for each test. */
  factory: () => Promise<LinkFixture>
}

const request = (id: number, body: Uint8Array | number | null = null): Message => ({
  type: 'request',
  id,
  method: 'm',
  body,
})

async function take(link: Link, count: number): Promise<Message[]> {
  const messages: Message[] = []
  if (count === 0) return messages
  for await (const message of link.messages) {
    messages.push(message)
    if (messages.length === count) return messages
  }
  return messages
}

const ids = (messages: readonly Message[]) => messages.map((message) => (message as { id: number }).id)
const upTo = (count: number) => Array.from({ length: count }, (_, id) => id)

/** Registers tests of everything the `Link` contract promises. */
export function linkCompliance(options: LinkComplianceOptions): void {
  const test = (name: string, body: (fixture: LinkFixture, a: Link, b: Link) => Promise<void>) =>
    options.test(`link: ${name}`, async () => {
      const fixture = await options.factory()
      try {
        await body(fixture, fixture.ends[0], fixture.ends[1])
      } finally {
        for (const end of fixture.ends) end.close()
        await Promise.all(fixture.ends.map((end) => end.closed))
        await fixture.dispose?.()
      }
    })

  test('messages arrive whole and in order, both ways at once', async (_, a, b) => {
    const count = 2000
    for (const id of upTo(count)) {
      a.send(request(id))
      b.send(request(id + 1))
    }
    const [atA, atB] = await Promise.all([take(a, count), take(b, count)])
    assert.deepEqual(ids(atB), upTo(count))
    assert.deepEqual(
      ids(atA),
      upTo(count).map((id) => id + 1),
    )
  })

  test('every kind of value arrives equal, and shares no memory', async (_, a, b) => {
    const bytes = Uint8Array.from(upTo(256))
    const sent: Message = { type: 'request', id: 1, method: 'é', body: { a: [null, true, -1.5, 'text', bytes], b: {} } }
    a.send(sent)
    a.send({
      type: 'ping',
      time: 1,
      cursor: { epoch: 1, index: 2 ** 40, digest: bytes.subarray(0, 32) },
      canary: 0,
      addresses: ['x:1'],
      apiAddress: '',
    })
    const [first, second] = await take(b, 2)
    const body = (first as unknown as { body: { a: [null, boolean, number, string, Uint8Array] } }).body
    assert.deepEqual(body.a.slice(0, 4), [null, true, -1.5, 'text'])
    assert.deepEqual([...body.a[4]], [...bytes])
    assert.notEqual(body.a[4].buffer, bytes.buffer)
    assert.ok(second?.type === 'ping' && second.cursor?.index === 2 ** 40 && second.cursor.digest.length === 32)
  })

  test('a large message arrives between small ones', async (_, a, b) => {
    const large = new Uint8Array(5 * 1024 * 1024).fill(7)
    a.send(request(0))
    a.send(request(1, large))
    a.send(request(2))
    const messages = await take(b, 3)
    assert.deepEqual(ids(messages), [0, 1, 2])
    const { body } = messages[1] as { body: Uint8Array }
    assert.equal(Buffer.compare(body, large), 0)
  })

  test('what was sent before a close arrives, then both ends are closed in order', async (_, a, b) => {
    for (const id of upTo(100)) a.send(request(id))
    a.close('done')
    a.close('again')
    assert.deepEqual(ids(await take(b, 1000)), upTo(100))
    assert.deepEqual([await a.closed, await b.closed], [{}, {}])
    assert.deepEqual(await take(a, 1), [])
  })

  test('after closing, sending does nothing and writable does not wait', async (_, a, b) => {
    a.close()
    a.send(request(1))
    await a.writable()
    await Promise.all([a.closed, b.closed])
    b.send(request(2))
    await b.writable()
    assert.deepEqual(await take(b, 1), [])
  })

  test('a broken connection ends both sides with an error', async (fixture, a, b) => {
    a.send(request(1))
    const iterator = b.messages[Symbol.asyncIterator]()
    assert.equal((await iterator.next()).done, false)
    const next = iterator.next()
    fixture.cut()
    assert.deepEqual(await next, { done: true, value: undefined })
    for (const outcome of await Promise.all([a.closed, b.closed])) assert.ok(outcome.error instanceof Error)
    await a.writable()
  })

  test('a slow reader holds the sender back, and loses nothing', async (_, a, b) => {
    const body = new Uint8Array(256 * 1024)
    let sent = 0
    const total = 400
    const sender = (async () => {
      while (sent < total) {
        await a.writable()
        a.send(request(sent++, body))
      }
    })()
    await new Promise((resolve) => setTimeout(resolve, 200))
    assert.ok(sent < total, `${sent} of ${total} messages of 256 KiB were taken while nobody read`)
    assert.deepEqual(ids(await take(b, total)), upTo(total))
    await sender
  })

  test('leaving the loop closes the link', async (_, a, b) => {
    a.send(request(1))
    for await (const _message of b.messages) break
    assert.deepEqual([await a.closed, await b.closed], [{}, {}])
  })

  test('names its peer', async (_, a, b) => {
    assert.ok(a.peer.length > 0 && b.peer.length > 0)
  })
}
