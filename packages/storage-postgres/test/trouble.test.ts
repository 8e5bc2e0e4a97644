// What a store and a leader lock do while the server, its disk or the way to it is in trouble, and after it.
import type { Store } from '@lockstep/storage'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type PostgresStoreOptions, postgresLeaderLock, postgresStore } from '../src/index.ts'
import { LostAnswers } from '../src/lost-answers.ts'
import { sessionOf } from '../src/sessions.ts'
import { faultProxy } from './fault-proxy.ts'
import { type PostgresServer, type PostgresServerOptions, postgresBinaries, startPostgres } from './postgres-server.ts'
import { smallDisk } from './small-disk.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

/** An error that says so. */
const unavailable = (text: string) =>
  expect.objectContaining({ code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining(text) })

describe.skipIf(postgresBinaries() === undefined)('with a PostgreSQL in trouble', () => {
  let common: PostgresServer
  let tables = 0

  beforeAll(async () => {
    common = await startPostgres()
  })

  afterAll(() => common.stop())

  /** A table of its own in the common server. */
  function ownTable(server = common): { connection: PostgresServer['connection']; table: string } {
    return { connection: server.connection, table: `t${tables++}` }
  }

  async function ownServer(options: PostgresServerOptions = {}): Promise<PostgresServer> {
    const server = await startPostgres(options)
    onTestFinished(() => server.stop())
    return server
  }

  async function connect(server: PostgresServer): Promise<Client> {
    const client = new Client(server.connection)
    client.on('error', () => {})
    await client.connect()
    onTestFinished(() => client.end().catch(() => {}))
    return client
  }

  async function openStore(options: PostgresStoreOptions): Promise<Store> {
    const store = await postgresStore(options)
    onTestFinished(() => store.close())
    return store
  }

  /** Holds for the whole of the common server until the test is over, or it is reset. */
  const set = async (admin: Client, setting: string, value: string) => {
    await admin.query(`ALTER SYSTEM SET ${setting} = ${value}`)
    await admin.query('SELECT pg_reload_conf()')
    onTestFinished(() => reset(admin, setting))
  }

  const reset = async (admin: Client, setting: string) => {
    await admin.query('SET default_transaction_read_only = off')
    await admin.query(`ALTER SYSTEM RESET ${setting}`)
    await admin.query('SELECT pg_reload_conf()')
  }

  /** Until a reload has reached the store's sessions. */
  const eventually = (body: () => Promise<unknown>) => expect.poll(body, { timeout: 20_000, interval: 20 })

  /** The session of the last write to the table. */
  async function writingSession(admin: Client, table: string): Promise<number> {
    const { rows } = await admin.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'lockstep' AND query LIKE 'WITH fence%' || $1 || ' %'`,
      [table],
    )
    expect(rows).toHaveLength(1)
    return rows[0]!.pid
  }

  const outcome = (call: Promise<unknown>) =>
    call.then(
      () => 'done',
      (error: unknown) => error,
    )

  describe('the way to the server', () => {
    test('a network that is gone: calls are refused in time, and go on once it is back', async () => {
      const { table } = ownTable()
      const proxy = await faultProxy(common)
      onTestFinished(() => proxy.close())
      const store = await openStore({ connection: proxy.connection, table, patience: 300 })
      await store.put('a', bytes('1'))
      const transaction = await store.begin()
      await transaction.get('a')
      await transaction.put('b', bytes('1'))
      proxy.hold()
      expect(await Promise.all([outcome(store.get('a')), outcome(transaction.commit())])).toEqual([
        unavailable('has not answered for 0.3 seconds'),
        unavailable('has not answered for 0.3 seconds'),
      ])
      proxy.release()
      await eventually(() => outcome(store.put('c', bytes('1')))).toBe('done')
      expect(await store.get('a')).toEqual(Buffer.from('1'))
    })

    test('close does not wait for a server that says nothing', async () => {
      const { table } = ownTable()
      const proxy = await faultProxy(common)
      onTestFinished(() => proxy.close())
      const store = await openStore({ connection: proxy.connection, table, patience: 300 })
      await store.put('a', bytes('1'))
      await store.get('a')
      proxy.hold()
      const writing = outcome(store.put('a', bytes('2')))
      await store.close()
      expect(await writing).toEqual(unavailable('has not answered'))
    })

    test('a leader that cannot reach the server knows it, its write is refused, and another node leads', async () => {
      const { connection, table } = ownTable()
      const proxy = await faultProxy(common)
      onTestFinished(() => proxy.close())
      const far = postgresLeaderLock({ connection: proxy.connection, table, heartbeat: 100 })
      const near = postgresLeaderLock({ connection, table, heartbeat: 100 })
      onTestFinished(async () => {
        await far.close()
        await near.close()
      })
      const first = await far.acquire()
      const store = await openStore({ connection: proxy.connection, table, fencedBy: first })
      await store.put('a', bytes('1'))
      proxy.hold()
      const late = outcome(store.put('a', bytes('late')))
      await first.lost
      expect(await late).toEqual(unavailable('the leadership ended'))
      expect(await outcome(store.put('a', bytes('later')))).toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      const second = await near.acquire()
      const next = await openStore({ connection, table, fencedBy: second })
      await next.put('a', bytes('2'))
      // What the network held back arrives now.
      proxy.release()
      await expect.poll(() => outcome(store.get('a'))).toBe('done')
      expect(await next.get('a')).toEqual(Buffer.from('2'))
      await second.release()
    })

    test('a waiting node whose server says nothing tells so, rather than waiting for ever', async () => {
      const { connection, table } = ownTable()
      const proxy = await faultProxy(common)
      onTestFinished(() => proxy.close())
      const near = postgresLeaderLock({ connection, table })
      const leadership = await near.acquire()
      onTestFinished(async () => {
        await leadership.release()
        await near.close()
      })
      const far = postgresLeaderLock({ connection: proxy.connection, table })
      onTestFinished(() => far.close())
      const admin = await connect(common)
      const waiting = outcome(far.acquire())
      await eventually(async () => {
        const { rows } = await admin.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
        return rows.length
      }).toBe(1)
      proxy.hold()
      expect(await waiting).toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    })

    test('releasing the lock of a server that says nothing comes to an end', async () => {
      const { table } = ownTable()
      const proxy = await faultProxy(common)
      onTestFinished(() => proxy.close())
      const lock = postgresLeaderLock({ connection: proxy.connection, table, heartbeat: 100 })
      onTestFinished(() => lock.close())
      const leadership = await lock.acquire()
      proxy.hold()
      await leadership.release()
      await leadership.lost
    })
  })

  describe('a write whose answer is lost', () => {
    test('that the server carries out late is over before anything is read', async () => {
      const { connection, table } = ownTable()
      const admin = await connect(common)
      const store = await openStore({ connection, table, patience: 3000 })
      await store.put('a', bytes('before'))
      const session = await writingSession(admin, table)
      process.kill(session, 'SIGSTOP')
      expect(await outcome(store.put('a', bytes('after')))).toEqual(unavailable('has not answered'))
      const reading = store.get('a')
      const writing = store.put('b', bytes('later'))
      await admin.query('SELECT pg_sleep(0.2)')
      process.kill(session, 'SIGCONT')
      const found = await reading
      await writing
      await eventually(async () => {
        const { rows } = await admin.query('SELECT FROM pg_stat_activity WHERE pid = $1', [session])
        return rows.length
      }).toBe(0)
      expect(await store.get('a')).toEqual(found)
    })

    test('while another is being settled is settled too, before anything that comes after it', async () => {
      const proxy = await faultProxy(common)
      onTestFinished(() => proxy.close())
      const [first, second] = [await connect(common), await connect(common)]
      const answers = new LostAnswers(proxy.connection, 60_000)
      onTestFinished(() => answers.close())
      const ended = [first, second].map((client) => new Promise((resolve) => client.once('end', resolve)))
      proxy.hold()
      answers.add(await sessionOf(first))
      const before = answers.settled()
      answers.add(await sessionOf(second))
      const after = answers.settled()
      proxy.release()
      await Promise.all([before, after])
      await ended[0]
      const admin = await connect(common)
      const pids = await admin.query('SELECT FROM pg_stat_activity WHERE pid = ANY ($1)', [
        [first, second].map((client) => (client as unknown as { processID: number }).processID),
      ])
      expect(pids.rows).toEqual([])
      await ended[1]
      expect(answers.settled()).toBeUndefined()
    })

    test('while the server stands still, everything else is refused', async () => {
      const { connection, table } = ownTable()
      const admin = await connect(common)
      const store = await openStore({ connection, table, patience: 200 })
      await store.put('a', bytes('before'))
      const session = await writingSession(admin, table)
      process.kill(session, 'SIGSTOP')
      try {
        await outcome(store.put('a', bytes('after')))
        expect(await outcome(store.get('a'))).toEqual(unavailable('has not ended the session'))
      } finally {
        process.kill(session, 'SIGCONT')
      }
      await store.get('a')
    })

    test('that waits for a disk or a replica is reported, found committed, and nothing hangs', async () => {
      const { connection, table } = ownTable()
      const admin = await connect(common)
      const store = await openStore({ connection, table, patience: 300 })
      await store.put('a', bytes('before'))
      // No such replica exists, so that commits wait for it when they are on the local disk.
      await set(admin, 'synchronous_standby_names', `'nobody'`)
      await eventually(() => outcome(store.put('a', bytes('after')))).toEqual(unavailable('has not answered'))
      expect(await store.get('a')).toEqual(Buffer.from('after'))
      await reset(admin, 'synchronous_standby_names')
      await eventually(() => outcome(store.put('a', bytes('again')))).toBe('done')
    })
  })

  describe('what the server says', () => {
    test('too many connections: named, and over when there are fewer', async () => {
      const server = await ownServer({ maxConnections: 10 })
      const admin = await connect(server)
      await admin.query('CREATE ROLE plain LOGIN; GRANT ALL ON SCHEMA public TO plain')
      const store = await openStore({ connection: { ...server.connection, user: 'plain' } })
      const others: Client[] = []
      for (let refused = false; !refused; ) {
        const client = new Client({ ...server.connection, user: 'plain' })
        client.on('error', () => {})
        refused = await client.connect().then(
          () => false,
          () => true,
        )
        if (!refused) others.push(client)
      }
      expect(await outcome(store.put('a', bytes('1')))).toEqual(unavailable('too many connections, SQLSTATE 53300'))
      for (const client of others) await client.end()
      await eventually(() => outcome(store.put('a', bytes('1')))).toBe('done')
    })

    test('no writes, as after a failover to a standby: named, reads go on, and writes once it takes them', async () => {
      const { connection, table } = ownTable()
      const admin = await connect(common)
      const store = await openStore({ connection, table })
      await store.put('a', bytes('1'))
      await set(admin, 'default_transaction_read_only', 'on')
      await eventually(() => outcome(store.put('probe', bytes('1')))).toEqual(unavailable('SQLSTATE 25006'))
      expect(await outcome(store.put('a', bytes('2')))).toEqual(unavailable('SQLSTATE 25006'))
      expect(await store.get('a')).toEqual(Buffer.from('1'))
      const lock = postgresLeaderLock({ connection, table })
      onTestFinished(() => lock.close())
      await expect(lock.acquire()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
      await reset(admin, 'default_transaction_read_only')
      await eventually(() => outcome(store.put('a', bytes('3')))).toBe('done')
      await (await lock.acquire()).release()
    })

    test('a statement timeout of the URL holds, and is named', async () => {
      const { table } = ownTable()
      const admin = await connect(common)
      const store = await openStore({ connection: `${common.url}&options=-c%20statement_timeout%3D200`, table })
      await store.put('a', bytes('1'))
      await admin.query(`BEGIN; LOCK TABLE ${table} IN EXCLUSIVE MODE`)
      expect(await outcome(store.put('a', bytes('2')))).toEqual(unavailable('SQLSTATE 57014'))
      await admin.query('COMMIT')
      await store.put('a', bytes('3'))
    })

    test('what the URL says of durability does not hold', async () => {
      const { table } = ownTable()
      const admin = await connect(common)
      // Commits that do not wait for the disk do not wait for a replica either.
      await set(admin, 'synchronous_standby_names', `'nobody'`)
      const connection = `${common.url}&options=-c%20synchronous_commit%3Doff`
      await expect(postgresStore({ connection, table, patience: 500 })).rejects.toEqual(unavailable('has not answered'))
      await reset(admin, 'synchronous_standby_names')
    })

    test('a full disk: named, nothing half written, reads go on, and writes once there is room', async () => {
      const server = await ownServer()
      const admin = await connect(server)
      const disk = await smallDisk(server, admin, 2)
      onTestFinished(() => disk.remove())
      const store = await openStore({ connection: server.connection })
      let stored = 0
      let failure: unknown = 'done'
      while (failure === 'done') {
        const transaction = await store.begin()
        await transaction.put(`a/${stored}`, new Uint8Array(50_000))
        await transaction.put(`b/${stored}`, new Uint8Array(50_000))
        failure = await outcome(transaction.commit())
        if (failure === 'done') stored++
      }
      expect(failure).toEqual(unavailable('its disk is full, SQLSTATE 53100'))
      expect(stored).toBeGreaterThan(0)
      for (const prefix of ['a/', 'b/']) expect(await store.list(prefix)).toHaveLength(stored)
      expect(await outcome(store.put('c', new Uint8Array(1_500_000)))).toEqual(unavailable('53100'))
      disk.grow(64)
      await store.put('c', new Uint8Array(1_500_000))
      expect((await store.get('c'))?.byteLength).toBe(1_500_000)
    })
  })

  test('a restart: calls are refused meanwhile, and go on by themselves', async () => {
    const server = await ownServer({ durable: true })
    const lock = postgresLeaderLock({ connection: server.connection })
    onTestFinished(() => lock.close())
    const first = await lock.acquire()
    const store = await openStore({ connection: server.connection })
    await store.put('a', bytes('1'))
    await server.kill('SIGINT')
    await first.lost
    expect(await outcome(store.get('a'))).toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    expect(await outcome(store.put('a', bytes('2')))).toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    await expect(lock.acquire()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    await server.start()
    expect(await store.get('a')).toEqual(Buffer.from('1'))
    await store.put('a', bytes('3'))
    const second = await lock.acquire()
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken)
    await second.release()
  })
})
