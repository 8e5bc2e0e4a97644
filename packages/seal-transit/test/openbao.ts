/** OpenBao in dev mode, where its binary lies beside the repository. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, type VaultClient, vaultClient, waitFor } from '@lockstep/dev-env'

const BAO = join(import.meta.dirname, '../../../../shared/peer/bao')
export const hasOpenBao = existsSync(BAO)

export interface Provider {
  address: string
  /** With a root token. */
  client: VaultClient
  close(): Promise<void>
}

/** With a transit engine at `transit/`. */
export async function openBaoProvider(): Promise<Provider> {
  const port = await freePort()
  const token = 'root-of-a-test'
  const child = spawn(BAO, ['server', '-dev', `-dev-listen-address=127.0.0.1:${port}`, '-dev-no-store-token'], {
    env: { ...process.env, BAO_DEV_ROOT_TOKEN_ID: token },
    stdio: 'ignore',
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const client = vaultClient(`http://127.0.0.1:${port}`, { token })
  await waitFor('OpenBao to be active', async () => (await client.call('GET', 'sys/health')).status === 200)
  await client.write('sys/mounts/transit', { type: 'transit' })
  return {
    address: client.address,
    client,
    async close() {
      client.close()
      child.kill()
      await exited
    },
  }
}
