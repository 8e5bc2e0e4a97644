import { type Leadership, memoryLeaderLock, type Store, transact } from '@lockstep/storage'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type PostgresStoreOptions, postgresLeaderLock, postgresStore } from '../src/index.ts'
import { type PostgresServer, postgresBinaries, startPostgres } from './postgres-server.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe.skipIf(postgresBinaries() === undefined)('with PostgreSQL', () => {
  let server: PostgresServer
  let admin: Client
  let tables = 0

  beforeAll(async () => {
    server = await startPostgres()
    admin = new Client(server.connection)
    await admin.connect()
  })

  afterAll(async () => {
    await admin.end()
    await server.stop()
  })

  async function openStore(options: Partial<PostgresStoreOptions> = {}): Promise<Store> {
    const store = await postgresStore({ connection: server.connection, table: `s${tables++}`, ...options })
    onTestFinished(() => store.close())
    return store
  }

  async function lead(table: string): Promise<Leadership> {
    const lock = postgresLeaderLock({ connection: server.connection, table, heartbeat: 50 })
    const leadership = await lock.acquire()
    onTestFinished(async () => {
      await leadership.release()
      await lock.close()
    })
    return leadership
  }

  /** Ends the server's sides of the connections a query finds. */
  const terminate = (where: string) =>
    admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE pid <> pg_backend_pid() AND application_name = 'lockstep' AND ${where}`,
    )

  describe('schema', () => {
    test('many nodes that open a new table at the same time all succeed and share it', async () => {
      const table = `s${tables++}`
      const stores = await Promise.all(Array.from({ length: 6 }, () => openStore({ table, maxConnections: 4 })))
      await stores[0]!.put('a', bytes('1'))
      for (const store of stores) expect(await store.list('')).toEqual(['a'])
    })

    test('a newer format is refused', async () => {
      const table = `s${tables++}`
      await (await openStore({ table })).close()
      await admin.query(`UPDATE ${table}_meta SET format = 2`)
      await expect(openStore({ table })).rejects.toMatchObject({ code: 'STORAGE_NEWER_FORMAT' })
    })

    test('a table name that is not plain is refused before it reaches SQL', async () => {
      await expect(openStore({ table: 'x; DROP TABLE y' })).rejects.toThrow(TypeError)
    })

    test('a role without the right to create tables can use existing ones', async () => {
      const table = `s${tables++}`
      await (await openStore({ table })).close()
      await admin.query(`CREATE ROLE ${table}_user LOGIN;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ${table}, ${table}_meta, ${table}_leaders TO ${table}_user`)
      const store = await openStore({ table, connection: { ...server.connection, user: `${table}_user` } })
      await store.put('a', bytes('1'))
      expect(await store.list('')).toEqual(['a'])
      await expect(
        openStore({ table: `${table}_new`, connection: { ...server.connection, user: `${table}_user` } }),
      ).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    })
  })

  describe('connections', () => {
    test('a server that cannot be reached is STORAGE_UNAVAILABLE', async () => {
      const connection = { ...server.connection, host: '/nonexistent' }
      await expect(openStore({ connection })).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    })

    test('a broken connection fails what was under way with STORAGE_UNAVAILABLE, and the store goes on', async () => {
      const table = `s${tables++}`
      const store = await openStore({ table })
      await store.put('a', bytes('1'))
      const transaction = await store.begin()
      await transaction.get('a')
      await transaction.put('a', bytes('2'))
      await terminate('true')
      await expect(transaction.commit()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
      await store.put('b', bytes('3'))
      expect(await store.list('')).toEqual(['a', 'b'])
      expect(await store.get('a')).toEqual(Buffer.from('1'))
    })

    test('open scans and transactions do not keep close waiting', async () => {
      const store = await openStore()
      for (let i = 0; i < 40; i++) await store.put(`k${i}`, bytes('1'))
      const scan = store.scan()[Symbol.asyncIterator]()
      await scan.next()
      const transaction = await store.begin()
      await transaction.get('a')
      await store.close()
      await expect(scan.next()).rejects.toMatchObject({ code: 'STORAGE_CLOSED' })
      await expect(transaction.get('a')).rejects.toMatchObject({ code: 'STORAGE_CLOSED' })
      await transaction.abort()
    })

    test('point reads and writes go on while every scan and transaction connection is taken', async () => {
      const store = await openStore({ maxConnections: 4 })
      for (let i = 0; i < 40; i++) await store.put(`k${i}`, bytes('1'))
      const scan = store.scan()[Symbol.asyncIterator]()
      await scan.next()
      const transactions = [await store.begin(), await store.begin()]
      for (const transaction of transactions) await transaction.get('k1')
      const values = await Promise.all(Array.from({ length: 100 }, (_, i) => store.get(`k${i % 40}`)))
      expect(values.every((value) => value?.length === 1)).toBe(true)
      expect(await store.list('', { limit: 1 })).toEqual(['k0'])
      await scan.return?.()
      for (const transaction of transactions) await transaction.abort()
    })
  })

  test('stores of several processes see each other and conflict', async () => {
    const table = `s${tables++}`
    const [a, b] = [await openStore({ table }), await openStore({ table })]
    const increment = (store: Store) =>
      transact(
        store,
        async (transaction) => {
          const count = Number(new TextDecoder().decode((await transaction.get('n')) ?? bytes('0')))
          await transaction.put('n', bytes(String(count + 1)))
        },
        { attempts: 1000 },
      )
    await Promise.all(Array.from({ length: 40 }, (_, i) => increment(i % 2 === 0 ? a : b)))
    expect(new TextDecoder().decode(await a.get('n'))).toBe('40')
  })

  test('a scan over values longer than a page misses none', async () => {
    const table = `s${tables++}`
    const store = await openStore({ table })
    const length = 300_000
    for (let i = 0; i < 30; i++) await store.put(`long/${String(i).padStart(2, '0')}`, new Uint8Array(length).fill(i))
    const short = await store.begin()
    for (let i = 0; i < 3000; i++) await short.put(`short/${String(i).padStart(4, '0')}`, bytes(String(i)))
    await short.commit()
    for (const reverse of [false, true]) {
      const lengths: number[] = []
      const names: string[] = []
      for await (const [key, value] of store.scan({ reverse })) {
        names.push(key)
        lengths.push(value.byteLength)
      }
      expect(names).toHaveLength(3030)
      expect(names).toEqual(reverse ? [...names].sort().reverse() : [...names].sort())
      expect(lengths.filter((found) => found === length)).toHaveLength(30)
    }
    const some: string[] = []
    for await (const [key] of store.scan({ prefix: 'long/', limit: 10 })) some.push(key)
    expect(some).toEqual(Array.from({ length: 10 }, (_, i) => `long/0${i}`))
  })

  test('what is too long is refused before it is sent, by store and transaction, and nothing is written', async () => {
    const store = await openStore()
    const { valueBytes, commitBytes } = store.limits!
    const tooLong = new Uint8Array(valueBytes + 1)
    const refused = {
      code: 'STORAGE_TOO_LARGE',
      message: `expected a value of at most ${valueBytes} bytes for key "a", found ${valueBytes + 1}`,
    }
    await expect(store.put('a', tooLong)).rejects.toMatchObject(refused)
    const transaction = await store.begin()
    await transaction.get('b')
    await transaction.put('b', bytes('1'))
    await transaction.put('a', tooLong)
    await expect(transaction.commit()).rejects.toMatchObject(refused)
    const many = await store.begin()
    const value = tooLong.subarray(1)
    for (let i = 0; i <= commitBytes / valueBytes; i++) await many.put(`k${i}`, value)
    await expect(many.commit()).rejects.toMatchObject({ code: 'STORAGE_TOO_LARGE' })
    expect(await store.list('')).toEqual([])
    await store.put('a', value)
    expect((await store.get('a'))?.byteLength).toBe(valueBytes)
  })

  test('a list of more children than a page misses none, within a transaction too', async () => {
    const store = await openStore()
    const transaction = await store.begin()
    const names = Array.from({ length: 25_000 }, (_, i) => `${String(i).padStart(5, '0')}${i % 3 === 0 ? '/' : ''}`)
    for (const name of names) await transaction.put(`p/${name}${name.endsWith('/') ? 'x' : ''}`, bytes('1'))
    await transaction.commit()
    expect(await store.list('p/')).toEqual(names)
    expect(await store.list('p/', { after: names[99]!, limit: 20_000 })).toEqual(names.slice(100, 20_100))
    const reading = await store.begin()
    await reading.delete('p/00001')
    expect(await reading.list('p/')).toEqual(names.filter((name) => name !== '00001'))
    await reading.abort()
  })

  test('list jumps over what is inside folders instead of reading it', async () => {
    const table = `s${tables++}`
    const store = await openStore({ table })
    const transaction = await store.begin()
    for (let i = 0; i < 20_000; i++) await transaction.put(`dir/${i % 4}/${i}`, bytes('1'))
    await transaction.commit()
    expect(await store.list('dir/')).toEqual(['0/', '1/', '2/', '3/'])

    // The statistics of a session are sent when it ends.
    await store.close()
    const read = async () => {
      const { rows } = await admin.query(
        `SELECT idx_tup_read::integer AS read FROM pg_stat_user_indexes WHERE relname = $1`,
        [table],
      )
      return (rows[0] as { read: number }).read
    }
    let before = -1
    for (let now = await read(); now !== before; now = await read()) {
      before = now
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    const again = await openStore({ table })
    for (let i = 0; i < 10; i++) await again.list('dir/')
    await again.close()
    await expect.poll(read).toBeGreaterThan(before)
    expect((await read()) - before).toBeLessThan(10 * 4 * 3)
  })

  describe('leadership', () => {
    test('writes are fenced: after another node leads, nothing of the old one is stored', async () => {
      const table = `s${tables++}`
      const first = await lead(table)
      const store = await openStore({ table, fencedBy: first })
      await store.put('a', bytes('first'))
      const transaction = await store.begin()
      await transaction.get('a')
      await transaction.put('a', bytes('late'))
      const blind = await store.begin()
      await blind.put('b', bytes('late'))

      // Another node took the lead, and this one has not noticed yet.
      await admin.query(`UPDATE ${table}_leaders SET token = token + 1`)
      await expect(store.put('a', bytes('late'))).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      await expect(store.delete('a')).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      await expect(blind.commit()).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      // This one read before the change, which PostgreSQL reports as a conflict.
      await expect(transaction.commit()).rejects.toMatchObject({
        code: expect.stringMatching(/^STORAGE_(CONFLICT|NOT_LEADER)$/),
      })
      const later = await store.begin()
      await later.get('a')
      await later.put('a', bytes('late'))
      await expect(later.commit()).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      expect(await store.get('a')).toEqual(Buffer.from('first'))
      expect(await store.list('')).toEqual(['a'])
    })

    test('a new leader gets its token only after fenced writes under way are over', async () => {
      const table = `s${tables++}`
      const first = await lead(table)
      const store = await openStore({ table, fencedBy: first })
      await store.put('a', bytes('0'))
      // A write of the first leader that has passed the fence and is not committed yet.
      const writer = new Client(server.connection)
      await writer.connect()
      await writer.query('BEGIN')
      await writer.query(`SELECT FROM ${table}_leaders WHERE token = ${first.fencingToken} FOR SHARE`)
      await first.release()
      let acquired = false
      const second = lead(table).then((leadership) => {
        acquired = true
        return leadership
      })
      await new Promise((resolve) => setTimeout(resolve, 150))
      expect(acquired).toBe(false)
      await writer.query('COMMIT')
      await writer.end()
      expect((await second).fencingToken).toBeGreaterThan(first.fencingToken)
      await expect(store.put('a', bytes('1'))).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
    })

    test('a leader whose connection breaks learns it, and a waiting node takes over', async () => {
      const table = `s${tables++}`
      const first = await lead(table)
      await first.publish('first')
      const waiting = lead(table)
      await new Promise((resolve) => setTimeout(resolve, 50))
      await terminate(`pid = (SELECT pid FROM ${table}_leaders)`)
      await first.lost
      await expect(first.publish('still here')).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      const second = await waiting
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken)
    })

    test('a leader that is silent, in the middle of a write too, loses the lock and its write to a waiting node', async () => {
      const table = `s${tables++}`
      // As a stopped process: its connections stay open, and it sends nothing.
      const silent = postgresLeaderLock({ connection: server.connection, table, heartbeat: 1_000_000 })
      const first = await silent.acquire()
      const store = await openStore({ table, fencedBy: first })
      await store.put('a', bytes('0'))
      const writer = new Client(server.connection)
      const ended = new Promise((resolve) => writer.on('error', resolve))
      await writer.connect()
      await writer.query('BEGIN')
      await writer.query(`SELECT FROM ${table}_leaders WHERE token = ${first.fencingToken} FOR SHARE`)
      const second = await lead(table)
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken)
      await Promise.all([first.lost, ended])
      await expect(store.put('a', bytes('1'))).rejects.toMatchObject({ code: 'STORAGE_NOT_LEADER' })
      await silent.close()
    })

    test('a leader that beats keeps the lock however long another waits', async () => {
      const table = `s${tables++}`
      const first = await lead(table)
      const lock = postgresLeaderLock({ connection: server.connection, table, heartbeat: 50 })
      await expect(lock.acquire(AbortSignal.timeout(3500))).rejects.toThrow()
      await first.publish('still here')
      await lock.close()
    })

    test('a server that stops answering ends the leadership', async () => {
      const own = await startPostgres()
      onTestFinished(() => own.stop())
      const lock = postgresLeaderLock({ connection: own.connection, heartbeat: 30 })
      const leadership = await lock.acquire()
      const client = new Client(own.connection)
      await client.connect()
      const { rows } = await client.query('SELECT pid FROM lockstep_leaders')
      const { pid } = rows[0] as { pid: number }
      process.kill(pid, 'SIGSTOP')
      try {
        await leadership.lost
      } finally {
        process.kill(pid, 'SIGCONT')
      }
      await client.end()
      await lock.close()
    })

    test('only a leadership of this package can fence', async () => {
      const fencedBy = await memoryLeaderLock().acquire()
      await expect(openStore({ fencedBy })).rejects.toThrow(TypeError)
    })
  })

  test('a restart of the server loses nothing that was acknowledged', async () => {
    const own = await startPostgres({ durable: true })
    onTestFinished(() => own.stop())
    const store = await postgresStore({ connection: own.connection })
    onTestFinished(() => store.close())
    const acknowledged: string[] = []
    const writing = Promise.all(
      Array.from({ length: 4 }, async (_, writer) => {
        for (let i = 0; ; i++) {
          const key = `w${writer}/${i}`
          const done = await store.put(key, bytes(key)).then(
            () => true,
            () => false,
          )
          if (!done) return
          acknowledged.push(key)
        }
      }),
    )
    const backend = new Client(own.connection)
    backend.on('error', () => {})
    await backend.connect()
    const { rows } = await backend.query('SELECT pg_backend_pid() AS pid')
    await expect.poll(() => acknowledged.length).toBeGreaterThan(100)
    // A backend that dies badly makes PostgreSQL stop all others and recover from its log.
    const ended = new Promise((resolve) => backend.once('end', resolve))
    process.kill((rows[0] as { pid: number }).pid, 'SIGKILL')
    await ended
    await writing
    await expect.poll(() => store.list('').catch(() => undefined), { timeout: 10_000 }).toBeDefined()
    for (const key of acknowledged) expect(await store.get(key)).toEqual(Buffer.from(key))
  })
})
