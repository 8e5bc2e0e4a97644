import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Cluster, type ClusterAccess, type ClusterOptions, startCluster } from '@lockstep/dev-env'
import { afterAll } from 'vitest'

/** Clusters of one test file, in one directory; all of it is gone after the last test. */
export function scratch() {
  const clusters: Cluster[] = []
  let directory: string | undefined
  afterAll(async () => {
    await Promise.all(clusters.map((cluster) => cluster.stop('SIGKILL')))
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
  })
  return {
    async path(name: string): Promise<string> {
      directory ??= await mkdtemp(join(tmpdir(), 'lockstep-e2e-'))
      return join(directory, name)
    },
    async cluster(name: string, options: Partial<ClusterOptions> = {}): Promise<Cluster> {
      const cluster = await startCluster({ directory: await this.path(name), name, ...options })
      clusters.push(cluster)
      return cluster
    },
  }
}

/** Enables userpass with one user whose policy reads and writes everything, and logs in on the given cluster. */
export async function addOperator(primary: ClusterAccess): Promise<void> {
  await primary.client.write('sys/policies/acl/operator', {
    policy: 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }',
  })
  await primary.client.write('sys/auth/userpass', { type: 'userpass' })
  await primary.client.write('auth/userpass/users/mitchell', { password: 'hashi', token_policies: 'operator' })
}

/** On a performance secondary the old root token is dead: log in with the replicated auth method. */
export async function login(cluster: ClusterAccess): Promise<string> {
  const reply = await cluster.client.write('auth/userpass/login/mitchell', { password: 'hashi' }, { token: '' })
  cluster.client.token = reply.body.auth.client_token
  return cluster.client.token
}
