import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { join } from 'node:path'
import { freePort } from '../free-port.ts'
import { waitFor } from '../wait-for.ts'
import { boundedOutput } from './output.ts'
import type { StorageProgram } from './storage-server.ts'

/** One member, with fsync, and nothing compacted: its revisions are the history of what was written. */
export async function startEtcdServer(directory: string): Promise<StorageProgram> {
  const [port, peerPort] = [await freePort(), await freePort()]
  const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
  const options = {
    name: 'default',
    'data-dir': join(directory, 'data'),
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `default=${peer}`,
    'log-level': 'warn',
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  const child = spawn('etcd', args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: directory })
  const output = boundedOutput(child.stderr)
  try {
    await once(child, 'spawn')
  } catch (cause) {
    throw new Error('no etcd to start: install it (Debian: apt-get install etcd-server)', { cause })
  }
  try {
    await waitFor(
      'etcd to be healthy',
      () => {
        if (child.exitCode !== null) throw new Error(`etcd exited with ${child.exitCode}`)
        return isHealthy(client)
      },
      { timeoutMs: 30_000 },
    )
  } catch (cause) {
    child.kill('SIGKILL')
    throw new Error(`etcd did not start: ${output()}`, { cause })
  }
  const url = (address: string): string => `http://${address}`
  return {
    child,
    address: `127.0.0.1:${port}`,
    url,
    block: ({ cluster }, address) => ({ etcd: { address: url(address), path: `${cluster}/`, ha_enabled: 'true' } }),
    endSignal: 'SIGTERM',
  }
}

function isHealthy(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const outgoing = get(`${url}/health`, { timeout: 1000, agent: false }, (reply) => {
      reply.resume()
      resolve(reply.statusCode === 200)
    })
    outgoing.on('timeout', () => outgoing.destroy())
    outgoing.on('error', () => resolve(false))
  })
}
