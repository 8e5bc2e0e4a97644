/** Real servers with a transit engine: Lockstep in this process and, where its binary lies beside the repository, OpenBao. */
import { freePort, vaultClient } from '@lockstep/dev-env'
import { buildCore } from '../../../apps/server/src/compose.ts'
import { devListener } from '../../../apps/server/src/config/listener-config.ts'
import { loadConfig } from '../../../apps/server/src/config/load-config.ts'
import { serverLog } from '../../../apps/server/src/logging/server-log.ts'
import { startServer } from '../../../apps/server/src/start-server.ts'
import { hasOpenBao, openBaoProvider, type Provider } from './openbao.ts'

export type { Provider } from './openbao.ts'

async function lockstepProvider(): Promise<Provider> {
  const listener = { ...devListener(`127.0.0.1:${await freePort()}`), clusterAddress: '127.0.0.1:0' }
  const { config } = await loadConfig([], {}, { storage: { type: 'inmem' }, listener })
  const server = await startServer(config, buildCore, serverLog({ level: 'error', format: 'standard' }))
  const client = vaultClient(`http://${server.addresses[0]}`)
  const made = await server.core.initialize({ secret_shares: 1, secret_threshold: 1 })
  await server.core.unseal({ key: (made.keys as string[])[0] })
  client.token = String(made.root_token)
  await client.write('sys/mounts/transit', { type: 'transit' })
  return {
    address: client.address,
    client,
    async close() {
      client.close()
      await server.close(0)
    },
  }
}

/** Lockstep always; a second implementation where there is one. */
export const providers: [name: string, start: () => Promise<Provider>][] = [
  ['Lockstep', lockstepProvider],
  ...(hasOpenBao ? [['OpenBao', openBaoProvider] as [string, typeof openBaoProvider]] : []),
]
