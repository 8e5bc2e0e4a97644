/** Seals for clusters of a test file, each with a key of its own: in the configuration, in another server's transit, in an HSM. */
import { randomBytes } from 'node:crypto'
import type { Cluster, ClusterOptions } from '@lockstep/dev-env'
import { afterAll } from 'vitest'
import { type SoftHsm, startSoftHsm } from '../packages/seal-pkcs11/test/softhsm.ts'
import type { scratch } from './scratch.ts'

export type SealName = 'shamir' | 'static' | 'transit' | 'pkcs11'
export const SEALS: readonly SealName[] = ['shamir', 'static', 'transit', 'pkcs11']

const PIN = '1234-5678'

export interface SealProviders {
  /** What a cluster `name` needs to be sealed so. */
  options(seal: SealName, name: string): Promise<Pick<ClusterOptions, 'config' | 'env'>>
  /** The server whose transit has the keys; started with the first of them. */
  transit(): Promise<Cluster>
  hsm(): Promise<SoftHsm>
}

export function sealProviders(files: ReturnType<typeof scratch>): SealProviders {
  let provider: Promise<Cluster> | undefined
  let softHsm: Promise<SoftHsm> | undefined
  afterAll(async () => (await softHsm)?.close())

  async function startTransit(): Promise<Cluster> {
    const cluster = await files.cluster('transit')
    await cluster.client.write('sys/mounts/transit', { type: 'transit' })
    return cluster
  }
  const transit = (): Promise<Cluster> => {
    provider ??= startTransit()
    return provider
  }
  const hsm = (): Promise<SoftHsm> => {
    softHsm ??= startSoftHsm()
    return softHsm
  }

  return {
    transit,
    hsm,
    async options(seal, name) {
      switch (seal) {
        case 'shamir':
          return {}
        case 'static':
          return {
            config: { seal: { static: { current_key_id: 'one', current_key: randomBytes(32).toString('hex') } } },
          }
        case 'transit':
          return { config: { seal: { transit: await transitStanza(await transit(), name) } } }
        case 'pkcs11': {
          const { lib, environment, initToken } = await hsm()
          initToken(name.slice(0, 32), PIN)
          const stanza = { lib, token_label: name.slice(0, 32), key_label: 'root', generate_key: true }
          return { config: { seal: { pkcs11: stanza } }, env: { ...environment, VAULT_HSM_PIN: PIN } }
        }
      }
    },
  }
}

/** A key for `name`, and a token that may use it and nothing else. */
export async function transitStanza({ client, address }: Cluster, name: string): Promise<Record<string, unknown>> {
  await client.write(`transit/keys/${name}`)
  const paths = ['encrypt', 'decrypt'].map((verb) => `path "transit/${verb}/${name}" { capabilities = ["update"] }`)
  await client.write(`sys/policies/acl/${name}`, { policy: paths.join('\n') })
  const made = await client.write('auth/token/create', { policies: [name], no_parent: true, period: '1h' })
  return { address, token: made.body.auth.client_token, key_name: name, mount_path: 'transit/' }
}
