// A server whose PostgreSQL is in trouble, with writes going on: it answers, acknowledges nothing that is not stored, says once why, and goes on by itself.
import { type Cluster, waitFor } from '@lockstep/dev-env'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type PostgresServer,
  postgresBinaries,
  startPostgres,
} from '../packages/storage-postgres/test/postgres-server.ts'
import { type SmallDisk, smallDisk } from '../packages/storage-postgres/test/small-disk.ts'
import { scratch } from './scratch.ts'

describe.skipIf(postgresBinaries() === undefined)('PostgreSQL in trouble', () => {
  describe.each(['true', 'false'])('ha_enabled %s', (ha_enabled) => {
    const files = scratch()
    let postgres: PostgresServer
    let disk: SmallDisk
    let cluster: Cluster
    /** Rejects when the server ends, which it never does by itself. */
    let died: Promise<never>

    beforeAll(async () => {
      postgres = await startPostgres({ durable: true })
      const admin = await connect()
      disk = await smallDisk(postgres, admin, 64)
      await admin.end()
      const storage = { postgresql: { connection_url: postgres.url, ha_enabled } }
      cluster = await files.cluster(`trouble-${ha_enabled}`, { config: { storage } })
      died = cluster.process.exited.then((code) => {
        throw new Error(`the server ended with ${code}:\n${cluster.process.output().slice(-4000)}`)
      })
      died.catch(() => {})
      await cluster.client.write('sys/mounts/kv', { type: 'kv' })
    })

    // Registered after the clusters' own, and so run before it.
    afterAll(async () => {
      await cluster?.stop('SIGKILL')
      await postgres?.stop()
      await disk?.remove()
    })

    async function connect(): Promise<Client> {
      const client = new Client(postgres.connection)
      client.on('error', () => {})
      await client.connect()
      return client
    }

    async function asAdmin(...statements: string[]): Promise<void> {
      const client = await connect()
      for (const statement of statements) await client.query(statement)
      await client.end()
    }

    /** Writes while `trouble` comes and goes; the answers, and how long the slowest took, seconds. */
    async function through(name: string, trouble: (answers: readonly number[]) => Promise<void>, value = '') {
      const answers: number[] = []
      const acknowledged: string[] = []
      const said = cluster.process.output().length
      let slowest = 0
      let running = true
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        for (let n = 0; running; n++) {
          const key = `kv/${name}/${writer}-${n}`
          const from = performance.now()
          const reply = await cluster.client
            .call('PUT', key, { n, value }, { timeoutMs: 60_000 })
            .catch(() => ({ status: 0 }))
          slowest = Math.max(slowest, (performance.now() - from) / 1000)
          answers.push(reply.status)
          if (reply.status === 204) acknowledged.push(key)
          else await new Promise((resolve) => setTimeout(resolve, 50))
        }
      })
      const writes = (what: string, count: number) =>
        Promise.race([waitFor(what, () => acknowledged.length >= count, { intervalMs: 5 }), died])
      await writes('writes', 20)
      await trouble(answers)
      const over = performance.now()
      await writes('writes again', acknowledged.length + 20)
      const recovered = (performance.now() - over) / 1000
      running = false
      await Promise.all(writers)
      for (const key of acknowledged) expect((await cluster.client.call('GET', key)).status, key).toBe(200)
      const log = cluster.process.output().slice(said)
      const refused = answers.filter((status) => status !== 204)
      console.log(
        `ha_enabled ${ha_enabled}, ${name}: ${acknowledged.length} acknowledged, 0 lost, ${refused.length} refused, ` +
          `slowest answer ${slowest.toFixed(2)} s, writes again after ${recovered.toFixed(2)} s`,
      )
      // Answered, one way or the other.
      expect(refused.filter((status) => status !== 503)).toEqual([])
      return { refused, log, slowest }
    }

    const refusals = (answers: readonly number[]) =>
      waitFor('a refusal', () => answers.some((status) => status !== 204), { intervalMs: 5 })

    test('connections are cut', async () => {
      await through('cut', async () => {
        for (let n = 0; n < 5; n++) {
          await asAdmin(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND application_name = 'lockstep'`,
          )
        }
      })
    })

    test.each(['SIGINT', 'SIGKILL'] as const)('PostgreSQL is ended by %s and started again', async (signal) => {
      const { log } = await through(signal, async (answers) => {
        await postgres.kill(signal)
        await refusals(answers)
        const { status } = await cluster.client.call('GET', 'sys/health')
        expect(status).toBe(ha_enabled === 'true' ? 429 : 200)
        await postgres.start()
      })
      expect(log).toMatch(/writing to the storage fails|the leader lock is lost/)
    })

    test('PostgreSQL stands still for seven seconds', async () => {
      const { slowest } = await through('still', async () => {
        postgres.pause()
        try {
          await new Promise((resolve) => setTimeout(resolve, 7000))
        } finally {
          postgres.resume()
        }
      })
      expect(slowest).toBeLessThan(40)
    })

    test('PostgreSQL takes no writes', async () => {
      const { log } = await through('read-only', async (answers) => {
        await asAdmin('ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()')
        await refusals(answers)
        expect((await cluster.client.call('GET', 'kv/read-only/0-0')).status).toBe(200)
        await asAdmin(
          'SET default_transaction_read_only = off',
          'ALTER SYSTEM RESET default_transaction_read_only',
          'SELECT pg_reload_conf()',
        )
      })
      expect(log.match(/writing to the storage fails.*25006/g)).toHaveLength(1)
      expect(log.match(/writing to the storage succeeds again/g)).toHaveLength(1)
    })

    test('the disk of PostgreSQL is full', async () => {
      const { log } = await through(
        'full',
        async (answers) => {
          disk.grow(2)
          await refusals(answers)
          expect((await cluster.client.call('GET', 'kv/full/0-0')).status).toBe(200)
          disk.grow(256)
        },
        'x'.repeat(20_000),
      )
      expect(log).toMatch(/writing to the storage fails.*its disk is full, SQLSTATE 53100/)
    })
  })
})
