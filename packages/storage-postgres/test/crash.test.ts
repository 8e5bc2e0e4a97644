// Acknowledged writes survive the death of the writer and of PostgreSQL; a leader that was stopped cannot write once another leads.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { type Store, transact } from '@lockstep/storage'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { postgresLeaderLock, postgresStore } from '../src/index.ts'
import { bundle } from './bundle.ts'
import { type PostgresServer, postgresBinaries, startPostgres } from './postgres-server.ts'

describe.skipIf(postgresBinaries() === undefined)('with PostgreSQL', () => {
  let server: PostgresServer
  let program: Awaited<ReturnType<typeof bundle>>
  let tables = 0

  beforeAll(async () => {
    program = await bundle(new URL('./crash-writer.ts', import.meta.url))
    server = await startPostgres({ durable: true })
  })

  afterAll(async () => {
    await server.stop()
    await program.remove()
  })

  interface Writer {
    process: ChildProcess
    /** Names of acknowledged writes. */
    wrote: string[]
    /** `CODE name` */
    refused: string[]
    leads: Promise<bigint>
    until(count: number): Promise<void>
    /** Its output is read to the end. */
    over: Promise<unknown>
  }

  function startWriter(table: string, round: number): Writer {
    const child = spawn(process.execPath, [program.file, server.url, table, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const over = once(child, 'close')
    const wrote: string[] = []
    const refused: string[] = []
    let lead: (token: bigint) => void
    const leads = new Promise<bigint>((resolve) => {
      lead = resolve
    })
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const [what, ...rest] = line.split(' ')
      if (what === 'leads') lead(BigInt(rest[0]!))
      else (what === 'wrote' ? wrote : refused).push(rest.join(' '))
    })
    const until = (count: number) => expect.poll(() => wrote.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(count)
    return { process: child, wrote, refused, leads, until, over }
  }

  async function expectAll(store: Store, names: readonly string[]): Promise<void> {
    const single = new Set(await store.list('single/'))
    // From one snapshot: PostgreSQL may still be at the last commit of a client that is gone.
    const [first, second]: [string[], string[]] = [[], []]
    for await (const [key] of store.scan({ prefix: 'pair/' })) {
      const [, half, name] = key.split('/')
      ;(half === 'a' ? first : second).push(name!)
    }
    const pairs = new Set(first)
    for (const name of names) expect((Number(name.split('-')[2]) % 2 === 0 ? single : pairs).has(name), name).toBe(true)
    expect(second).toEqual(first)
  }

  async function someoneWaits(): Promise<void> {
    const admin = new Client(server.connection)
    await admin.connect()
    const waiting = async () =>
      (await admin.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)).rows.length
    await expect.poll(waiting, { timeout: 20_000 }).toBe(1)
    await admin.end()
  }

  async function reader(table: string): Promise<Store> {
    const store = await postgresStore({ connection: server.connection, table })
    onTestFinished(() => store.close())
    return store
  }

  test('after kill -9 of the writer every acknowledged write is there, and no transaction by half', async () => {
    const table = `c${tables++}`
    const store = await reader(table)
    const acknowledged: string[] = []
    for (const round of [0, 1, 2]) {
      const writer = startWriter(table, round)
      await writer.until(100)
      writer.process.kill('SIGKILL')
      await writer.over
      acknowledged.push(...writer.wrote)
      await expectAll(store, acknowledged)
    }
  })

  test.each(['SIGKILL', 'SIGQUIT'] as const)(
    'after %s of PostgreSQL every acknowledged write is there',
    async (signal) => {
      const table = `c${tables++}`
      const store = await reader(table)
      const writer = startWriter(table, 0)
      await writer.until(100)
      await server.kill(signal)
      await writer.over
      await server.start()
      await expectAll(store, writer.wrote)
      expect(writer.refused).toHaveLength(7)
      expect(writer.refused.at(-1)).toBe('STORAGE_NOT_LEADER 0-late')
    },
  )

  test('a leader that is stopped loses the lock, and cannot write when it goes on', async () => {
    const table = `c${tables++}`
    const store = await reader(table)
    const writer = startWriter(table, 0)
    await writer.until(50)
    writer.process.kill('SIGSTOP')
    const stopped = performance.now()
    const lock = postgresLeaderLock({ connection: server.connection, table, heartbeat: 500 })
    onTestFinished(() => lock.close())
    const leadership = await lock.acquire()
    expect(leadership.fencingToken).toBeGreaterThan(await writer.leads)
    expect(performance.now() - stopped).toBeLessThan(30_000)
    const next = await postgresStore({ connection: server.connection, table, fencedBy: leadership })
    onTestFinished(() => next.close())
    await expectAll(store, writer.wrote)
    const before = await Promise.all(['single/', 'pair/a/', 'pair/b/'].map((prefix) => store.list(prefix)))
    await transact(next, async (transaction) => transaction.put('next', new Uint8Array()))

    writer.process.kill('SIGCONT')
    await writer.over
    const after = await Promise.all(['single/', 'pair/a/', 'pair/b/'].map((prefix) => store.list(prefix)))
    expect(after).toEqual(before)
    // What it wrote before it was stopped it may have had no time to say.
    await expectAll(store, writer.wrote)
    expect(writer.refused.at(-1)).toBe('STORAGE_NOT_LEADER 0-late')
    await leadership.release()
  })

  test('a lock whose holder is killed, or lets go, is held by a waiting node within moments', async () => {
    const table = `c${tables++}`
    const writer = startWriter(table, 0)
    await writer.until(20)
    const lock = postgresLeaderLock({ connection: server.connection, table })
    onTestFinished(() => lock.close())
    const waiting = lock.acquire()
    await someoneWaits()
    const killed = performance.now()
    writer.process.kill('SIGKILL')
    const first = await waiting
    const tookOver = performance.now() - killed
    const next = lock.acquire()
    await someoneWaits()
    const released = performance.now()
    await first.release()
    const second = await next
    const handedOver = performance.now() - released
    await second.release()
    console.log(`held ${tookOver.toFixed(0)} ms after kill -9, ${handedOver.toFixed(0)} ms after release`)
    // Both take milliseconds; the bounds allow for a machine that is busy.
    expect(tookOver).toBeLessThan(5000)
    expect(handedOver).toBeLessThan(5000)
  })
})
