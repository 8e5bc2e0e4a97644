/** Real servers with a transit engine: Lockstep in this process and, where its binary lies beside the repository, OpenBao. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, type VaultClient, vaultClient, waitFor } from '@lockstep/dev-env'
import { buildCore } from '../../../apps/server/src/compose.ts'
import { devListener } from '../../../apps/server/src/config/listener-config.ts'
import { loadConfig } from '../../../apps/server/src/config/load-config.ts'
import { serverLog } from '../../../apps/server/src/logging/server-log.ts'
import { startServer } from '../../../apps/server/src/start-server.ts'

export const BAO = join(import.meta.dirname, '../../../../shared/peer/bao')

export interface Provider {
  name: string
  address: string
  /** With a root token. */
  client: VaultClient
  close(): Promise<void>
}

export async function lockstepProvider(port?: number): Promise<Provider> {
  const listener = { ...devListener(`127.0.0.1:${port ?? (await freePort())}`), clusterAddress: '127.0.0.1:0' }
  const { config } = await loadConfig([], {}, { storage: { type: 'inmem' }, listener })
  const server = await startServer(config, buildCore, serverLog({ level: 'error', format: 'standard' }))
  const client = vaultClient(`http://${server.addresses[0]}`)
  const made = await server.core.initialize({ secret_shares: 1, secret_threshold: 1 })
  await server.core.unseal({ key: (made.keys as string[])[0] })
  client.token = String(made.root_token)
  await client.write('sys/mounts/transit', { type: 'transit' })
  return {
    name: 'Lockstep',
    address: client.address,
    client,
    async close() {
      client.close()
      await server.close(0)
    },
  }
}

export async function openBaoProvider(): Promise<Provider> {
  const port = await freePort()
  const token = 'root-of-a-test'
  const child = spawn(BAO, ['server', '-dev', `-dev-listen-address=127.0.0.1:${port}`, '-dev-no-store-token'], {
    env: { ...process.env, BAO_DEV_ROOT_TOKEN_ID: token },
    stdio: 'ignore',
  })
  const client = vaultClient(`http://127.0.0.1:${port}`, { token })
  await waitFor('OpenBao to be active', async () => (await client.call('GET', 'sys/health')).status === 200)
  await client.write('sys/mounts/transit', { type: 'transit' })
  return { name: 'OpenBao', address: client.address, client, close: () => ended(child, client) }
}

/** Lockstep always; a second implementation where there is one. */
export const providers: [name: string, start: () => Promise<Provider>][] = [
  ['Lockstep', lockstepProvider],
  ...(existsSync(BAO) ? [['OpenBao', openBaoProvider] as [string, typeof openBaoProvider]] : []),
]

async function ended(child: ChildProcess, client: VaultClient): Promise<void> {
  client.close()
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill()
  await exited
}
