/** A primary and a secondary to be, as processes. */
import { join } from 'node:path'
import { replicationStatus, startCluster, waitFor } from '@lockstep/dev-env'

const OPERATOR = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'

export async function startPair(directory, { nodeArgs }) {
  const start = (name) =>
    startCluster({ directory: join(directory, name), name, nodeArgs, config: { log_level: 'warn' } })
  const primary = await start('primary')
  const secondary = await start('secondary')
  const { client } = primary
  await client.write('sys/mounts/kv', { type: 'kv', options: { version: '1' } })
  await client.write('sys/policies/acl/operator', { policy: OPERATOR })
  await client.write('sys/auth/approle', { type: 'approle' })
  await client.write('auth/approle/role/operator', { token_policies: 'operator' })
  return { primary, secondary }
}

export async function enablePrimary({ client, ...cluster }) {
  await client.write('sys/replication/performance/primary/enable')
  await waitFor(
    'the primary role',
    async () => (await replicationStatus({ client, ...cluster }, 'performance'))?.mode === 'primary',
  )
}

/** Tokens stay on their cluster, so one is made on the secondary by a replicated AppRole. */
export async function loginToSecondary(primary, secondary) {
  const { role_id } = (await primary.client.read('auth/approle/role/operator/role-id')).body.data
  const { secret_id } = (await primary.client.write('auth/approle/role/operator/secret-id')).body.data
  const reply = await waitFor('a login on the secondary', async () => {
    const answer = await secondary.client.call('PUT', 'auth/approle/login', { role_id, secret_id }, { token: '' })
    return answer.status === 200 && answer
  })
  secondary.client.token = reply.body.auth.client_token
}
