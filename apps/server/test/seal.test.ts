// The real core behind the real routes, in memory.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildCore } from '../src/compose.ts'
import { devListener } from '../src/config/listener-config.ts'
import { loadConfig } from '../src/config/load-config.ts'
import { type HttpApp, httpApp } from '../src/http/app.ts'
import type { ServerCore } from '../src/http/server-core.ts'
import { serverLog } from '../src/logging/server-log.ts'
import { send } from './client.ts'

let core: ServerCore
let app: HttpApp
let port: number

beforeAll(async () => {
  const listener = { ...devListener('127.0.0.1:0'), clusterAddress: '127.0.0.1:0' }
  const { config } = await loadConfig([], {}, { storage: { type: 'inmem' }, listener })
  const log = serverLog({ level: 'error', format: 'standard' })
  core = await buildCore(config, log)
  app = await httpApp(core, log)
  await new Promise<void>((resolve) => app.server.listen(0, '127.0.0.1', resolve))
  port = (app.server.address() as { port: number }).port
})
afterAll(async () => {
  await app.close(0)
  await core.close()
})

test('sys/seal answers once the server is sealed, after the requests under way', async () => {
  const made = await core.initialize({ secret_shares: 1, secret_threshold: 1 })
  const [key] = made.keys as string[]
  const headers = { 'X-Vault-Token': String(made.root_token) }
  const put = (path: string, body: object = {}) =>
    send(port, `/v1/${path}`, { method: 'PUT', headers, body: JSON.stringify(body) })
  await core.unseal({ key })
  await put('sys/mounts/transit', { type: 'transit' })
  for (let round = 0; round < 3; round++) {
    await core.unseal({ key })
    // A key that takes some time to make, and not as long as a seal waits for requests.
    let slowDone = Date.now()
    const slow = put(`transit/keys/slow-${round}`, { type: 'rsa-2048' }).finally(() => {
      slowDone = Date.now()
    })
    await new Promise((resolve) => setTimeout(resolve, 10))
    expect((await put('sys/seal')).status).toBe(204)
    const sealed = Date.now()
    expect((await core.sealStatus()).sealed).toBe(true)
    expect((await slow).status).toBe(200)
    // It must not wait ten seconds for itself to be over.
    expect(sealed - slowDone).toBeLessThan(9000)
  }
  expect((await send(port, '/v1/sys/mounts', { headers })).status).toBe(503)
})
