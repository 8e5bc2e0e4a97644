import { join } from 'node:path'
import { startCluster } from '@lockstep/dev-env'
import { startEtcd } from '../services/etcd.mjs'
import { startPostgres } from '../services/postgres.mjs'

const SERVICES = {
  level: undefined,
  postgresql: {
    start: startPostgres,
    config: (url) => ({ postgresql: { connection_url: url, ha_enabled: 'true' } }),
  },
  etcd: { start: startEtcd, config: (url) => ({ etcd: { address: url, ha_enabled: 'true' } }) },
}

/** `lockstep server` in a process of its own: plain HTTP, initialised and unsealed, with a leader lock where the storage has one. */
export async function startLockstep(parent, storage, { nodeArgs = [] } = {}) {
  const directory = join(parent, `lockstep-${storage}`)
  const service = await SERVICES[storage]?.start(join(directory, 'service'))
  const config = { log_level: 'warn' }
  if (service !== undefined) config.storage = SERVICES[storage].config(service.url)
  const cluster = await startCluster({ directory, name: 'bench', nodeArgs, config })
  return {
    name: storage === 'level' ? 'lockstep' : `lockstep on ${storage}`,
    port: Number(new URL(cluster.address).port),
    client: cluster.client,
    get pid() {
      return cluster.process.pid
    },
    storagePid: service?.pid,
    async stop() {
      await cluster.stop()
      await service?.stop()
    },
  }
}
