/** An etcd of one member for one contender, as it comes, but for room for the bench's writes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '@lockstep/dev-env'
import { accepting } from './accepting.mjs'

const QUOTA = 8 * 1024 ** 3

export async function startEtcd(directory) {
  await mkdir(directory, { recursive: true })
  const [port, peerPort] = [await freePort(), await freePort()]
  const url = `http://127.0.0.1:${port}`
  const peerUrl = `http://127.0.0.1:${peerPort}`
  const flags = {
    name: 'bench',
    'data-dir': join(directory, 'data'),
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `bench=${peerUrl}`,
    'quota-backend-bytes': QUOTA,
    'log-level': 'error',
  }
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
  const server = spawn('etcd', args, { stdio: 'ignore', cwd: directory })
  await Promise.race([
    accepting('etcd', port),
    once(server, 'error').then(([cause]) => {
      throw new Error('etcd does not start: on Debian, apt-get install etcd-server', { cause })
    }),
  ])
  const exited = once(server, 'exit')
  return {
    url,
    pid: server.pid,
    async stop() {
      server.kill()
      await exited
    },
  }
}
