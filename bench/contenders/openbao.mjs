import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, vaultClient, waitFor } from '@lockstep/dev-env'
import { startPostgres } from '../services/postgres.mjs'

/** `bao server` with durable storage (raft of one node, or PostgreSQL), plain HTTP, initialised and unsealed. */
export async function startOpenBao(parent, storage, { bao }) {
  const directory = join(parent, `openbao-${storage}`)
  await mkdir(join(directory, 'raft'), { recursive: true })
  const service = storage === 'postgresql' ? await startPostgres() : undefined
  const [port, clusterPort] = [await freePort(), await freePort()]
  const config = {
    storage:
      service === undefined
        ? { raft: { path: join(directory, 'raft'), node_id: 'bench' } }
        : { postgresql: { connection_url: service.url, ha_enabled: 'true' } },
    listener: [
      { tcp: { address: `127.0.0.1:${port}`, cluster_address: `127.0.0.1:${clusterPort}`, tls_disable: true } },
    ],
    api_addr: `http://127.0.0.1:${port}`,
    cluster_addr: `https://127.0.0.1:${clusterPort}`,
    disable_mlock: true,
    log_level: 'warn',
  }
  const file = join(directory, 'config.json')
  await writeFile(file, JSON.stringify(config))
  const child = spawn(bao, ['server', `-config=${file}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  const log = createWriteStream(join(directory, 'server.log'))
  child.stdout.pipe(log)
  child.stderr.pipe(log)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const client = vaultClient(`http://127.0.0.1:${port}`)
  await waitFor('OpenBao to listen', async () => (await client.call('GET', 'sys/seal-status')).status === 200)
  const { body } = await client.write('sys/init', { secret_shares: 1, secret_threshold: 1 })
  client.token = body.root_token
  await client.write('sys/unseal', { key: body.keys[0] })
  await waitFor('OpenBao to be active', async () => (await client.call('GET', 'sys/health')).status === 200)
  return {
    name: storage === 'raft' ? 'openbao' : `openbao on ${storage}`,
    port,
    client,
    pid: child.pid,
    storagePid: service?.pid,
    async stop() {
      child.kill()
      await exited
      await service?.stop()
    },
  }
}
