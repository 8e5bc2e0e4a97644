import 'reflect-metadata' // which @peculiar/x509 needs
import { execFile, spawn } from 'node:child_process'
import { createPrivateKey, webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { constants, createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import {
  type Leadership,
  memoryLeaderLock,
  optimisticStore,
  type Store,
  storeEngine,
  transact,
} from '@lockstep/storage'
import * as x509 from '@peculiar/x509'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { bundle } from '../../storage-level/test/bundle.ts'
import { type EtcdStoreOptions, etcdLeaderLock, etcdStore } from '../src/index.ts'
import { type EtcdServer, type EtcdServerOptions, startEtcd } from './etcd-server.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value)

/** Bytes that are different for each seed. */
const value = (seed: number, length: number) => new Uint8Array(length).map((_, i) => (i * 31 + seed) & 0xff)

let server: EtcdServer
let program: Awaited<ReturnType<typeof bundle>>
let prefixes = 0
const newPrefix = () => `/s${prefixes++}/`

beforeAll(async () => {
  server = await startEtcd()
  program = await bundle(new URL('./writer.ts', import.meta.url))
})

afterAll(async () => {
  await program?.remove()
  await server?.stop()
})

async function openStore(options: Partial<EtcdStoreOptions> = {}): Promise<Store> {
  const store = await etcdStore({ endpoints: server.url, prefix: newPrefix(), ...options })
  onTestFinished(() => store.close())
  return store
}

async function lead(prefix: string, endpoints = server.url): Promise<Leadership> {
  const lock = etcdLeaderLock({ endpoints, prefix })
  onTestFinished(() => lock.close())
  return lock.acquire()
}

async function ownServer(options?: EtcdServerOptions): Promise<EtcdServer> {
  const own = await startEtcd(options)
  onTestFinished(() => own.stop())
  return own
}

/** etcd's own client. */
async function etcdctl(...args: string[]): Promise<string> {
  return etcdctlAt(server.url, ...args)
}

async function etcdctlAt(url: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('etcdctl', ['--endpoints', url, ...args], {
    env: { ...process.env, ETCDCTL_API: '3' },
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout
}

const keysBelow = async (prefix: string): Promise<string[]> =>
  (await etcdctl('get', '--prefix', '--keys-only', prefix)).split('\n').filter((line) => line !== '')

/** Stands before a server; from `hold` on nothing passes, either way, and nobody is told. */
async function silencer(url: string): Promise<{ url: string; hold(): void }> {
  const sockets = new Set<Socket>()
  const listener = createServer((client) => {
    const upstream = connect(Number(new URL(url).port), '127.0.0.1')
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream]) {
      socket.on('error', () => {})
      sockets.add(socket)
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  const { port } = listener.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    hold() {
      for (const socket of sockets) socket.unpipe().pause()
    },
  }
}

/** This package in a process of its own, which prints a line for each thing that happened. */
async function startWriter(mode: string, options: object, clock = 'clock') {
  const child = spawn(process.execPath, [program.file, mode, clock], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, LOCKSTEP_WRITER: JSON.stringify(options) },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines: string[] = []
  const exited = once(child, 'exit')
  createInterface(child.stdout!).on('line', (line) => lines.push(line))
  return { child, lines, exited }
}

describe('opening', () => {
  test('a newer format is refused, and what is no format', async () => {
    const prefix = newPrefix()
    await (await openStore({ prefix })).close()
    await etcdctl('put', `${prefix}format`, '2')
    await expect(openStore({ prefix })).rejects.toMatchObject({ code: 'STORAGE_NEWER_FORMAT' })
    await etcdctl('put', `${prefix}format`, 'something else')
    await expect(openStore({ prefix })).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
  })

  test.each([
    ['no endpoint', { endpoints: '' }],
    ['no URL', { endpoints: 'localhost:2379' }],
    ['a password in a URL', { endpoints: 'http://user:hunter2@localhost:2379' }],
    ['two schemes', { endpoints: ['http://a:1', 'https://b:1'] }],
    ['an empty prefix', { prefix: '/' }],
    ['requests too short for a value', { maxRequestBytes: 1000 }],
    ['half a certificate', { endpoints: 'https://a:1', tls: { cert: 'x' } }],
  ])('%s is refused', async (_, options) => {
    const opening = openStore(options)
    await expect(opening).rejects.toThrow(TypeError)
    await expect(opening).rejects.not.toThrow(/hunter2/)
  })

  test('an etcd that cannot be reached is STORAGE_UNAVAILABLE', async () => {
    const opening = openStore({ endpoints: 'http://127.0.0.1:1', requestTimeout: 300 })
    await expect(opening).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
  })

  test('an endpoint that is away is passed over', async () => {
    const store = await openStore({ endpoints: ['http://127.0.0.1:1', server.url] })
    await store.put('a', bytes('1'))
    expect(text(await store.get('a'))).toBe('1')
  })

  test('a connection that ends because somebody was too busy is no answer of etcd', async () => {
    const busy = createHttp2Server()
    let calls = 0
    busy.on('stream', (stream) => {
      calls++
      stream.on('error', () => {})
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    })
    busy.listen(0, '127.0.0.1')
    await once(busy, 'listening')
    onTestFinished(() => void busy.close())
    const store = await openStore({
      endpoints: [`http://127.0.0.1:${(busy.address() as AddressInfo).port}`, server.url],
    })
    expect(calls).toBe(1)
    await store.put('a', bytes('1'))
    expect(text(await store.get('a'))).toBe('1')
  })

  test('stores of different prefixes do not see each other', async () => {
    const [a, b] = [await openStore({ prefix: '/same' }), await openStore({ prefix: '/same/below' })]
    await a.put('x', bytes('a'))
    await b.put('y', bytes('b'))
    expect(await a.list('')).toEqual(['x'])
    expect(await b.list('')).toEqual(['y'])
  })
})

describe('reads', () => {
  test('lists jump over folders, in many pages', async () => {
    const store = await openStore()
    const filling = await store.begin()
    const names: string[] = []
    for (let n = 0; n < 40; n++) {
      const name = String(n).padStart(2, '0')
      names.push(n % 2 === 0 ? `${name}/` : name)
      if (n % 2 === 0) for (let i = 0; i < 50; i++) await filling.put(`dir/${name}/${i}`, bytes('1'))
      else await filling.put(`dir/${name}`, bytes('1'))
    }
    await filling.commit()
    expect(await store.list('dir/')).toEqual(names)
    expect(await store.list('dir/', { after: names[6]!, limit: 5 })).toEqual(names.slice(7, 12))
    for (const limit of [1, 16, 17, 39]) expect(await store.list('dir/', { limit })).toEqual(names.slice(0, limit))
  })

  test('a long scan is of one revision, in both directions', async () => {
    const store = await openStore()
    const filling = await store.begin()
    const keys = Array.from({ length: 3000 }, (_, n) => `k${String(n).padStart(4, '0')}`)
    for (const key of keys) await filling.put(key, bytes(key))
    await filling.commit()
    for (const reverse of [false, true]) {
      const found: string[] = []
      for await (const [key, value] of store.scan({ reverse })) {
        expect(text(value)).toBe(key)
        if (found.length === 0) {
          await store.put('k0000x', bytes('later'))
          await store.delete('k2999')
        }
        found.push(key)
      }
      expect(found).toEqual(reverse ? [...keys].reverse() : keys)
      await store.put('k2999', bytes('k2999'))
      await store.delete('k0000x')
    }
    const some: string[] = []
    for await (const [key] of store.scan({ reverse: true, after: 'k0100', before: 'k2000', limit: 700 })) some.push(key)
    expect(some).toEqual(keys.slice(1300, 2000).reverse())
  })

  test('values of a page that would be too long an answer come in shorter pages', async () => {
    const store = await openStore()
    // The first pages are of small values, so the next is asked for many.
    const filling = await store.begin()
    for (let n = 0; n < 64; n++) await filling.put(`a${n}`, bytes('small'))
    await filling.commit()
    const large = new Uint8Array(1024 * 1024)
    for (let n = 0; n < 20; n++) await store.put(`b${String(n).padStart(2, '0')}`, large)
    let count = 0
    for await (const [key, value] of store.scan()) {
      if (key.startsWith('b')) expect(value.byteLength).toBe(large.byteLength)
      count++
    }
    expect(count).toBe(84)
    const values = await store.getMany(Array.from({ length: 20 }, (_, n) => `b${String(n).padStart(2, '0')}`))
    expect(values.every((value) => value?.byteLength === large.byteLength)).toBe(true)
  })

  test('a compaction during a scan is told, and in a transaction a conflict', async () => {
    const prefix = newPrefix()
    const store = await openStore({ prefix })
    const filling = await store.begin()
    for (let n = 0; n < 100; n++) await filling.put(`k${n}`, bytes('1'))
    await filling.commit()
    const scan = store.scan()[Symbol.asyncIterator]()
    await scan.next()
    const transaction = await store.begin()
    await transaction.get('k1')
    await store.put('k1', bytes('2'))
    const { header } = JSON.parse(await etcdctl('get', `${prefix}format`, '-w', 'json')) as {
      header: { revision: number }
    }
    await etcdctl('compact', String(header.revision))
    const rest = (async () => {
      while (!(await scan.next()).done);
    })()
    await expect(rest).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('compacted'),
    })
    await expect(transaction.get('k2')).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
    await expect(transaction.commit()).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
    expect(text(await store.get('k1'))).toBe('2')
    let count = 0
    for await (const _ of store.scan()) count++
    expect(count).toBe(100)
  })
})

describe('commits larger than a request', () => {
  test('thousands of operations are one revision', async () => {
    const prefix = newPrefix()
    const store = await openStore({ prefix })
    for (const count of [128, 129, 4000, 12_000]) {
      const transaction = await store.begin()
      for (let n = 0; n < count; n++) await transaction.put(`${count}/${n}`, bytes('1'))
      await transaction.commit()
      const answer = await etcdctl('get', '--prefix', '-w', 'json', '--keys-only', `${prefix}d/${count}/`)
      const { kvs } = JSON.parse(answer) as { kvs: { mod_revision: number }[] }
      expect(kvs).toHaveLength(count)
      expect(new Set(kvs.map(({ mod_revision }) => mod_revision)).size).toBe(1)
    }
    const deleting = await store.begin()
    for (let n = 0; n < 12_000; n++) await deleting.delete(`12000/${n}`)
    await deleting.commit()
    expect(await store.list('12000/')).toEqual([])
  })

  test('many more bytes than a request takes are written at once, read back, replaced and removed', async () => {
    const prefix = newPrefix()
    const store = await openStore({ prefix })
    const lengths = [10_000_000, 1_600_000, 1_500_000, 900_000, 100, 0]
    const transaction = await store.begin()
    for (const [i, length] of lengths.entries()) await transaction.put(`v${i}`, value(i, length))
    await transaction.commit()
    const check = async (reader: Store) => {
      const found = await reader.getMany(lengths.map((_, i) => `v${i}`))
      for (const [i, length] of lengths.entries()) expect(Buffer.compare(found[i]!, value(i, length))).toBe(0)
      for await (const [key, found] of reader.scan({ reverse: true })) {
        expect(Buffer.compare(found, value(Number(key[1]), lengths[Number(key[1])]!))).toBe(0)
      }
    }
    await check(store)
    await check(await openStore({ prefix }))
    const parts = await keysBelow(`${prefix}p/`)
    expect(parts.length).toBeGreaterThan(7)

    await store.put('v0', bytes('small now'))
    await store.delete('v1')
    expect(text(await store.get('v0'))).toBe('small now')
    expect((await keysBelow(`${prefix}p/`)).filter((key) => /\/v[01]/.test(key))).toEqual([])
    await store.put('v2', value(9, 3_000_000))
    expect(Buffer.compare((await store.get('v2'))!, value(9, 3_000_000))).toBe(0)
    const left = await store.begin()
    for (const [i] of lengths.entries()) await left.delete(`v${i}`)
    await left.commit()
    expect(await keysBelow(`${prefix}p/`)).toEqual([])
  })

  test('another store that replaces a value in parts removes its parts', async () => {
    const prefix = newPrefix()
    const [a, b] = [await openStore({ prefix }), await openStore({ prefix })]
    await a.put('k', new Uint8Array(3_000_000))
    await b.put('k', bytes('1'))
    expect(await keysBelow(`${prefix}p/`)).toEqual([])
    await b.put('k', new Uint8Array(3_000_000))
    await a.put('k', new Uint8Array(2_000_000))
    expect((await b.get('k'))?.byteLength).toBe(2_000_000)
    await b.delete('k')
    expect(await keysBelow(`${prefix}p/`)).toEqual([])
  })

  test('what no request can hold is refused with the limit, alone', async () => {
    const store = optimisticStore(storeEngine(await openStore()))
    const tooLong = store.put('a', new Uint8Array(64 * 1024 * 1024 + 1))
    const fine = store.put('b', bytes('1'))
    await expect(tooLong).rejects.toMatchObject({
      code: 'STORAGE_TOO_LARGE',
      message: expect.stringContaining('67108864'),
    })
    await fine
    const keys = await store.begin()
    for (let n = 0; n < 200; n++) await keys.put(`${'x'.repeat(10_000)}${n}`, bytes('1'))
    await expect(keys.commit()).rejects.toMatchObject({
      code: 'STORAGE_TOO_LARGE',
      message: expect.stringContaining('--max-request-bytes'),
    })
    expect(await store.list('')).toEqual(['b'])
  })

  test("a server with a smaller limit than the store's is named as the cause", async () => {
    const own = await ownServer({ args: ['--max-request-bytes', '300000'] })
    const store = await openStore({ endpoints: own.url })
    await expect(store.put('a', new Uint8Array(1_000_000))).rejects.toMatchObject({ code: 'STORAGE_TOO_LARGE' })
    const told = await openStore({ endpoints: own.url, maxRequestBytes: 300_000 })
    await told.put('a', new Uint8Array(1_000_000))
    expect((await told.get('a'))?.byteLength).toBe(1_000_000)
  })

  test('a server with a larger limit than an answer may have stores what can be read again', async () => {
    const maxRequestBytes = 48 * 1024 * 1024
    const own = await ownServer({ args: ['--max-request-bytes', String(maxRequestBytes)] })
    const store = await openStore({ endpoints: own.url, maxRequestBytes, requestTimeout: 30_000 })
    for (const length of [20, 40]) {
      const long = Buffer.alloc(length * 1024 * 1024, `${length} `)
      await store.put('long', long)
      expect(Buffer.compare((await store.get('long'))!, long)).toBe(0)
    }
  })

  test('a writer killed between the parts of a value and its commit leaves the old value, and its parts are swept', async () => {
    const prefix = newPrefix()
    const store = await openStore({ prefix })
    await store.put('large', bytes('old'))
    await store.put('other', new Uint8Array(2_000_000))
    const kept = await keysBelow(`${prefix}p/`)
    const writer = await startWriter('large', { endpoints: server.url, prefix, key: 'large', length: 40_000_000 })
    await expect.poll(async () => (await keysBelow(`${prefix}p/large`)).length).toBeGreaterThan(3)
    writer.child.kill('SIGKILL')
    await writer.exited
    expect(writer.lines).not.toContain('committed')
    expect(text(await store.get('large'))).toBe('old')
    expect((await keysBelow(`${prefix}p/large`)).length).toBeGreaterThan(3)
    const next = await openStore({ prefix })
    expect(await keysBelow(`${prefix}p/`)).toEqual(kept)
    expect(text(await next.get('large'))).toBe('old')
    expect((await next.get('other'))?.byteLength).toBe(2_000_000)
  })
})

describe('leadership', () => {
  test('writes are fenced: after another node leads, nothing of the old one is stored', async () => {
    const prefix = newPrefix()
    const first = await lead(prefix)
    const store = await openStore({ prefix, fencedBy: first })
    await store.put('a', bytes('first'))
    const transaction = await store.begin()
    await transaction.get('a')
    await transaction.put('a', bytes('late'))
    const blind = await store.begin()
    await blind.put('b', bytes('late'))

    // The lease is gone and this node has not noticed yet.
    await etcdctl('del', `${prefix}lock/leader`)
    await expect(store.put('a', new Uint8Array(2_000_000))).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    await expect(store.delete('a')).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    await expect(blind.commit()).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    await expect(transaction.commit()).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    await first.lost
    expect(text(await store.get('a'))).toBe('first')
    expect(await store.list('')).toEqual(['a'])
  })

  test('a lock of the same revision under another lease fences too', async () => {
    const prefix = newPrefix()
    const first = await lead(prefix)
    const store = await openStore({ prefix, fencedBy: first })
    // As after a restored snapshot: the key is there, but it is not this node's.
    await etcdctl('put', `${prefix}lock/leader`, '=somebody')
    await expect(store.put('a', bytes('1'))).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    await etcdctl('del', `${prefix}lock/leader`)
  })

  test('a store cannot be opened by a leadership that is over', async () => {
    const prefix = newPrefix()
    const first = await lead(prefix)
    await etcdctl('del', `${prefix}lock/leader`)
    await expect(openStore({ prefix, fencedBy: first })).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
  })

  test('only a leadership of this package can fence', async () => {
    const fencedBy = await memoryLeaderLock().acquire()
    await expect(openStore({ fencedBy })).rejects.toThrow(TypeError)
  })

  test.each(['clock', 'stopped-clock'])(
    'a leader that is stopped (SIGSTOP) and goes on after its lease is gone cannot write: %s',
    async (clock) => {
      const prefix = newPrefix()
      const old = await startWriter('lead', { endpoints: server.url, prefix }, clock)
      await expect.poll(() => old.lines.filter((line) => line.startsWith('stored')).length).toBeGreaterThan(20)
      old.child.kill('SIGSTOP')
      const second = await lead(prefix)
      const store = await openStore({ prefix, fencedBy: second })
      await store.put('owner', bytes('second'))
      const before = await store.list('w/')
      const linesBefore = old.lines.length
      old.child.kill('SIGCONT')
      await expect.poll(() => old.lines.slice(linesBefore)).toContain('refused STORAGE_NOT_LEADER')
      await expect.poll(() => old.lines).toContain('lost')
      expect(old.lines.slice(linesBefore).filter((line) => line.startsWith('stored')).length).toBeLessThanOrEqual(1)
      // What it was told of as stored after it went on had been stored before it stopped.
      expect(await store.list('w/')).toEqual(before)
      expect(text(await store.get('owner'))).toBe('second')
    },
  )

  test('a leader that is killed is followed when its lease runs out, and what it published goes with it', async () => {
    const prefix = newPrefix()
    const old = await startWriter('lead', { endpoints: server.url, prefix })
    const lock = etcdLeaderLock({ endpoints: server.url, prefix })
    onTestFinished(() => lock.close())
    await expect.poll(() => lock.holder()).toBe('the writer')
    old.child.kill('SIGKILL')
    const second = await lock.acquire()
    expect(await lock.holder()).toBeUndefined()
    await second.release()
  })

  test('an etcd that stops answering ends the leadership', async () => {
    const own = await ownServer()
    const first = await lead('/stopped/', own.url)
    await own.pause()
    try {
      await first.lost
    } finally {
      own.resume()
    }
    await expect(first.publish('still here')).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    const second = await lead('/stopped/', own.url)
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken)
  })

  test('an endpoint that falls silent does not end the leadership while another answers', async () => {
    const own = await ownServer()
    const silent = await silencer(own.url)
    const lock = etcdLeaderLock({ endpoints: [silent.url, own.url], prefix: '/silent/', ttl: 6000 })
    onTestFinished(() => lock.close())
    const leadership = await lock.acquire()
    const lost = leadership.lost.then(() => 'lost')
    await leadership.publish('by the first')
    silent.hold()
    // Longer than the lease lasts.
    expect(await Promise.race([lost, sleep(9000, 'held')])).toBe('held')
    await leadership.publish('by the second')
  })
})

describe('crashes and absences', () => {
  test('kill -9 of the writer: everything acknowledged is there', async () => {
    const prefix = newPrefix()
    const writer = await startWriter('write', { endpoints: server.url, prefix })
    await expect.poll(() => writer.lines.length).toBeGreaterThan(500)
    writer.child.kill('SIGKILL')
    await writer.exited
    const store = await openStore({ prefix })
    const stored = new Set(await store.list('w/'))
    for (const line of writer.lines) expect(stored).toContain(line.replace('stored w/', ''))
  })

  test('kill -9 of etcd: everything acknowledged is there, and the store goes on by itself', async () => {
    const own = await ownServer()
    const store = await openStore({ endpoints: own.url, requestTimeout: 500 })
    const acknowledged: string[] = []
    const failures: unknown[] = []
    let on = true
    const writing = Promise.all(
      Array.from({ length: 4 }, async (_, writer) => {
        for (let i = 0; on; i++) {
          const key = `w${writer}/${i}`
          await store.put(key, bytes(key)).then(
            () => acknowledged.push(key),
            (error: unknown) => failures.push(error),
          )
        }
      }),
    )
    for (let round = 0; round < 2; round++) {
      const [done, failed] = [acknowledged.length, failures.length]
      await expect.poll(() => acknowledged.length).toBeGreaterThan(done + 100)
      await own.kill()
      await expect.poll(() => failures.length).toBeGreaterThan(failed)
      await own.start()
    }
    const done = acknowledged.length
    await expect.poll(() => acknowledged.length).toBeGreaterThan(done + 100)
    on = false
    await writing
    for (const failure of failures) expect(failure).toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    const stored = new Set<string>()
    for await (const [key] of store.scan()) stored.add(key)
    for (const key of acknowledged) expect(stored).toContain(key)
  })

  test('while etcd is away reads and writes are STORAGE_UNAVAILABLE, within the request timeout', async () => {
    const own = await ownServer()
    const store = await openStore({ endpoints: own.url, requestTimeout: 400 })
    await store.put('a', bytes('1'))
    await own.kill()
    await expect(store.get('a')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    await expect(store.put('a', bytes('2'))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    await expect(store.list('')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    const transaction = await store.begin()
    await expect(transaction.get('a')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    await own.start()
    await expect.poll(() => store.get('a').then(text, () => undefined)).toBe('1')
    await store.put('a', bytes('3'))
    expect(text(await store.get('a'))).toBe('3')
  })

  test('a commit whose answer was lost is decided once it was read, however late etcd gets to it', async () => {
    const own = await ownServer()
    const store = await openStore({ endpoints: own.url, requestTimeout: 300 })
    for (let round = 0; round < 10; round++) {
      const key = `round/${round}`
      await own.pause()
      const writes = Array.from({ length: 5 }, (_, n) => store.put(`${key}/${n}`, bytes('1')))
      for (const write of await Promise.allSettled(writes)) {
        expect(write).toMatchObject({ status: 'rejected', reason: { code: 'STORAGE_UNAVAILABLE' } })
      }
      own.resume()
      const read = () => store.list(`${key}/`).catch(() => undefined)
      await expect.poll(read).toBeDefined()
      const found = await read()
      await store.put('between', bytes(key))
      expect(await read()).toEqual(found)
    }
    // And to the end.
    const at = await Promise.all(Array.from({ length: 10 }, (_, round) => store.list(`round/${round}/`)))
    await store.put('between', bytes('end'))
    expect(await Promise.all(at.map((_, round) => store.list(`round/${round}/`)))).toEqual(at)
  })

  test('a used-up space quota is named with its remedy, reads go on, and so do writes after it', async () => {
    const own = await ownServer({ args: ['--quota-backend-bytes', String(16 * 1024 * 1024)] })
    const prefix = '/full/'
    const leadership = await lead(prefix, own.url)
    const store = await openStore({ endpoints: own.url, prefix, fencedBy: leadership })
    await store.put('kept', bytes('1'))
    const fill = async () => {
      for (;;) await store.put('same', new Uint8Array(1_000_000))
    }
    await expect(fill()).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringMatching(/space quota .*NOSPACE.* defragment/),
    })
    expect(text(await store.get('kept'))).toBe('1')
    await expect(store.put('more', new Uint8Array(3_000_000))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    const status = JSON.parse(await etcdctlAt(own.url, 'endpoint', 'status', '-w', 'json')) as {
      Status: { header: { revision: number } }
    }[]
    await etcdctlAt(own.url, 'compact', String(status[0]!.Status.header.revision))
    await etcdctlAt(own.url, 'defrag')
    await etcdctlAt(own.url, 'alarm', 'disarm')
    await expect
      .poll(() =>
        store.put('kept', bytes('2')).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true)
    expect(text(await store.get('kept'))).toBe('2')
  })
})

test('stores of several processes see each other and conflict', async () => {
  const prefix = newPrefix()
  const [a, b] = [await openStore({ prefix }), await openStore({ prefix })]
  const increment = (store: Store) =>
    transact(
      store,
      async (transaction) => {
        const count = Number(text(await transaction.get('n')) ?? '0')
        await transaction.put('n', bytes(String(count + 1)))
      },
      { attempts: 1000 },
    )
  await Promise.all(Array.from({ length: 40 }, (_, i) => increment(i % 2 === 0 ? a : b)))
  expect(text(await a.get('n'))).toBe('40')
})

describe('authentication', () => {
  test('by user and password, from when it is switched on, and again when the token is no longer good; a wrong one is told without being repeated', async () => {
    const own = await ownServer({ args: ['--auth-token-ttl', '1'] })
    await etcdctlAt(own.url, 'user', 'add', 'root:toor')
    await etcdctlAt(own.url, 'user', 'grant-role', 'root', 'root')
    await etcdctlAt(own.url, 'user', 'add', 'lockstep:pass-word')
    await etcdctlAt(own.url, 'role', 'add', 'lockstep')
    await etcdctlAt(own.url, 'role', 'grant-permission', 'lockstep', '--prefix=true', 'readwrite', '/mine/')
    await etcdctlAt(own.url, 'user', 'grant-role', 'lockstep', 'lockstep')
    const auth = { username: 'lockstep', password: 'pass-word' }
    const early = await openStore({ endpoints: own.url, prefix: '/mine/', auth })
    await etcdctlAt(own.url, 'auth', 'enable')
    await early.put('a', bytes('0'))
    expect(text(await early.get('a'))).toBe('0')
    const mute = createServer(() => {})
    mute.listen(0, '127.0.0.1')
    await once(mute, 'listening')
    onTestFinished(() => void mute.close())
    const silent = `http://127.0.0.1:${(mute.address() as AddressInfo).port}`
    const passing = await openStore({ endpoints: [silent, own.url], prefix: '/mine/', auth, requestTimeout: 4000 })
    expect(text(await passing.get('a'))).toBe('0')
    const store = await openStore({ endpoints: own.url, prefix: '/mine/', auth })
    await store.put('a', bytes('1'))
    // Tokens are kept for as long as the member runs.
    await own.kill()
    await own.start()
    await expect
      .poll(() =>
        store.put('a', bytes('2')).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true)
    expect(text(await store.get('a'))).toBe('2')
    await expect(openStore({ endpoints: own.url, prefix: '/other/', auth })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('permission denied'),
    })
    const wrong = openStore({ endpoints: own.url, prefix: '/mine/', auth: { ...auth, password: 'hunter2' } })
    await expect(wrong).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('password'),
    })
    await expect(wrong).rejects.not.toThrow(/hunter2/)
  })
})

test('TLS: both ends by certificates of one authority, and nobody else', async () => {
  const files = await certificates()
  onTestFinished(() => rm(files.directory, { recursive: true }))
  const own = await ownServer({ tls: files.paths })
  const { ca, cert, key } = files
  await expect
    .poll(() =>
      etcdStore({ endpoints: own.url, tls: { ca, cert, key } }).then(
        (s) => s.close().then(() => true),
        () => false,
      ),
    )
    .toBe(true)
  const tls = { ca, cert, key }
  const lock = etcdLeaderLock({ endpoints: own.url, tls })
  onTestFinished(() => lock.close())
  const leadership = await lock.acquire()
  const store = await openStore({ endpoints: own.url, prefix: '/lockstep/', tls, fencedBy: leadership })
  await store.put('a', bytes('1'))
  expect(text(await store.get('a'))).toBe('1')
  const stranger = await certificates()
  onTestFinished(() => rm(stranger.directory, { recursive: true }))
  for (const wrong of [
    { ca },
    { cert, key },
    { ca, cert: stranger.cert, key: stranger.key },
    { ca: stranger.ca, cert, key },
  ]) {
    const opening = openStore({ endpoints: own.url, tls: wrong, requestTimeout: 1000 })
    await expect(opening).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
  }
})

/** An authority and one certificate of it for both ends, as PEM and in files. */
async function certificates() {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keyPair = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const [authority, end] = [await keyPair(), await keyPair()]
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) }
  const root = await x509.X509CertificateGenerator.createSelfSigned(
    {
      ...validity,
      name: 'CN=root',
      keys: authority,
      signingAlgorithm: algorithm,
      extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
    },
    webcrypto,
  )
  const leaf = await x509.X509CertificateGenerator.create(
    {
      ...validity,
      subject: 'CN=127.0.0.1',
      issuer: root.subject,
      publicKey: end.publicKey,
      signingKey: authority.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      ],
    },
    webcrypto,
  )
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', end.privateKey))
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    .export({ type: 'sec1', format: 'pem' })
    .toString()
  const [ca, cert] = [root.toString('pem'), leaf.toString('pem')]
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-etcd-tls-'))
  const paths = { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') }
  await Promise.all([writeFile(paths.ca, ca), writeFile(paths.cert, cert), writeFile(paths.key, key)])
  return { ca, cert, key, directory, paths }
}
