/** What operators do with their shares: unseal, or make root and DR operation tokens. */
import { join } from 'node:path'
import { type Cluster, startServerProcess } from '@lockstep/dev-env'
import { expect } from 'vitest'

export const INVALID_SHARES = /key shares given are not valid|unseal failed, invalid key/

/** sys/generate-root from start to decoded token; rejects with the server's error for wrong shares. */
export function generateRoot(cluster: Cluster, keys: readonly string[]): Promise<string> {
  return generate(cluster, 'sys/generate-root', keys)
}

/** The same for a token of the DR secondary. */
export function generateOperationToken(cluster: Cluster, keys: readonly string[]): Promise<string> {
  return generate(cluster, 'sys/replication/dr/secondary/generate-operation-token', keys)
}

async function generate(cluster: Cluster, base: string, keys: readonly string[]): Promise<string> {
  const anonymous = { token: '' }
  await cluster.client.delete(`${base}/attempt`, anonymous)
  const started = (await cluster.client.write(`${base}/attempt`, {}, anonymous)).body
  let last = started
  for (const key of keys.slice(0, started.required)) {
    last = (await cluster.client.write(`${base}/update`, { key, nonce: started.nonce }, anonymous)).body
  }
  expect(last).toMatchObject({ complete: true, progress: started.required })
  const otp = Buffer.from(started.otp)
  return Buffer.from(Buffer.from(last.encoded_token, 'base64').map((byte, index) => byte ^ otp[index]!)).toString()
}

export async function isRoot(cluster: Cluster, token: string): Promise<void> {
  const { body } = await cluster.client.read('auth/token/lookup-self', { token })
  expect(body.data.policies).toEqual(['root'])
}

/** Process ended and started again, and left as it comes up. */
export async function restartAlone(cluster: Cluster): Promise<void> {
  await cluster.stop()
  cluster.process = await startServerProcess(['server', `-config=${join(cluster.directory, 'config.json')}`], {
    env: cluster.env,
    logFile: join(cluster.directory, 'server.log'),
  })
}

/** Whether these shares, as many as the node asks for, open it. */
export async function unseals({ client }: Cluster, keys: readonly string[]): Promise<boolean> {
  const { t } = (await client.read('sys/seal-status')).body
  await client.write('sys/unseal', { reset: true })
  for (const key of keys.slice(0, t)) {
    const reply = await client.call('PUT', 'sys/unseal', { key })
    if (reply.status === 400) {
      expect(reply.body.errors[0]).toMatch(/unseal failed, invalid key/)
      return false
    }
    if (reply.body.sealed === false) return true
  }
  return false
}
