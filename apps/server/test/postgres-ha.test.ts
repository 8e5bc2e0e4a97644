// Two servers over one PostgreSQL table: one leads, fenced by its leadership, the other takes over.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type PostgresServer,
  postgresBinaries,
  startPostgres,
} from '../../../packages/storage-postgres/test/postgres-server.ts'
import { buildCore } from '../src/compose.ts'
import { devListener } from '../src/config/listener-config.ts'
import { loadConfig } from '../src/config/load-config.ts'
import type { ServerCore } from '../src/http/server-core.ts'
import { serverLog } from '../src/logging/server-log.ts'

describe.skipIf(postgresBinaries() === undefined)('two nodes over PostgreSQL', () => {
  let postgres: PostgresServer
  let one: ServerCore
  let two: ServerCore

  async function node(): Promise<ServerCore> {
    const listener = { ...devListener('127.0.0.1:0'), clusterAddress: '127.0.0.1:0' }
    const database = { connectionUrl: postgres.url, table: 'ha', maxParallel: 4, haEnabled: true }
    const { config } = await loadConfig([], {}, { storage: { type: 'postgresql', ...database }, listener })
    return buildCore(config, serverLog({ level: 'error', format: 'standard' }))
  }

  async function state(core: ServerCore, wanted: string): Promise<void> {
    const deadline = Date.now() + 60_000
    while ((await core.health()).state !== wanted) {
      if (Date.now() > deadline) throw new Error(`timed out waiting for ${wanted}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  const ask = (core: ServerCore, token: string, operation: 'read' | 'update', path: string, data = {}) =>
    core.handle({
      ...{ id: 'test', operation, path, data, clientToken: token },
      ...{ headers: {}, remoteAddress: '127.0.0.1', remotePort: 1, wrapTtl: 0, wrapFormat: '' },
    })

  beforeAll(async () => {
    postgres = await startPostgres({ durable: false })
    one = await node()
    two = await node()
  })
  afterAll(async () => {
    await Promise.allSettled([one?.close(), two?.close()])
    await postgres?.stop()
  })

  test('init, stand by, take over with all that was written, and write on', async () => {
    const made = await one.initialize({ secret_shares: 1, secret_threshold: 1 })
    const [key] = made.keys as string[]
    const token = String(made.root_token)
    // One after the other: whichever node is unsealed first takes the lead in its own time.
    expect(await one.unseal({ key })).toMatchObject({ sealed: false })
    await state(one, 'active')
    expect(await two.unseal({ key })).toMatchObject({ sealed: false })
    await state(two, 'standby')
    await ask(one, token, 'update', 'sys/mounts/kv', { type: 'kv' })
    for (let n = 0; n < 5; n++) await ask(one, token, 'update', 'kv/a', { n })
    await expect(ask(two, token, 'read', 'kv/a')).rejects.toMatchObject({ code: 'CORE_STANDBY' })

    await ask(one, token, 'update', 'sys/step-down')
    await state(two, 'active')
    await state(one, 'standby')
    expect((await ask(two, token, 'read', 'kv/a')).envelope?.data).toEqual({ n: 4 })
    await ask(two, token, 'update', 'kv/a', { n: 'second' })
    expect((await ask(two, token, 'read', 'kv/a')).envelope?.data).toEqual({ n: 'second' })
  })
})
