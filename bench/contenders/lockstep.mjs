import { join } from 'node:path'
import { startCluster } from '@lockstep/dev-env'

/** `lockstep server` in a process of its own: level storage, plain HTTP, initialised and unsealed. */
export async function startLockstep(directory, { nodeArgs = [] } = {}) {
  const cluster = await startCluster({
    directory: join(directory, 'lockstep'),
    name: 'bench',
    nodeArgs,
    config: { log_level: 'warn' },
  })
  return {
    name: 'lockstep',
    port: Number(new URL(cluster.address).port),
    client: cluster.client,
    get pid() {
      return cluster.process.pid
    },
    stop: () => cluster.stop(),
  }
}
