// The real `bao` command line, unmodified, against our server. It lies beside the repository; without it these tests are skipped
// (and a skipped test fails in CI).
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Cluster, replicationStatus, waitFor } from '@lockstep/dev-env'
import { beforeAll, describe, expect, test } from 'vitest'
import { scratch } from '../scratch.ts'

const BAO = join(import.meta.dirname, '../../../shared/peer/bao')
const run = promisify(execFile)
const files = scratch()

describe.skipIf(!existsSync(BAO))('bao', () => {
  let cluster: Cluster
  let secondary: Cluster
  let token = ''

  async function bao(args: string, target: Cluster = cluster, format = 'table'): Promise<string> {
    const env = {
      ...process.env,
      BAO_ADDR: target.address,
      BAO_TOKEN: token,
      BAO_FORMAT: format,
      HOME: target.directory,
    }
    const { stdout, stderr } = await run(BAO, args.split(' '), { env })
    return format === 'json' ? stdout : stdout + stderr
  }
  const json = async (args: string, target?: Cluster) => JSON.parse(await bao(args, target, 'json'))
  const refused = (args: string) => expect(bao(args)).rejects

  beforeAll(async () => {
    cluster = await files.cluster('primary', { bare: true })
    secondary = await files.cluster('secondary')
  })

  test('operator init, unseal, status', async () => {
    await expect(bao('status')).rejects.toMatchObject({ code: 2 })
    const made = await json('operator init -key-shares=3 -key-threshold=2')
    expect(made.unseal_keys_b64).toHaveLength(3)
    token = made.root_token
    await expect(bao(`operator unseal ${Buffer.alloc(33).toString('base64')}`)).resolves.toContain('1/2')
    await bao('operator unseal -reset')
    for (const key of made.unseal_keys_b64.slice(1)) await bao(`operator unseal ${key}`)
    cluster.keys = made.unseal_keys_hex
    cluster.client.token = token
    const status = await json('status')
    expect(status).toMatchObject({
      initialized: true,
      sealed: false,
      t: 2,
      n: 3,
      type: 'shamir',
      storage_type: 'level',
    })
  })

  test('secrets enable, list, tune, move, disable', async () => {
    await bao('secrets enable -version=2 -path=secret kv')
    await bao('secrets enable -local -path=here kv')
    const mounts = await json('secrets list')
    expect(mounts['secret/']).toMatchObject({ type: 'kv', options: { version: '2' }, local: false })
    expect(mounts['here/']).toMatchObject({ type: 'kv', local: true })
    await bao('secrets tune -default-lease-ttl=1h -description=mine here')
    expect((await json('secrets list'))['here/']).toMatchObject({
      description: 'mine',
      config: { default_lease_ttl: 3600 },
    })
    await bao('secrets move here there')
    expect(await json('secrets list')).toHaveProperty(['there/'])
    await bao('secrets disable there')
    expect(await json('secrets list')).not.toHaveProperty(['there/'])
    await refused('secrets enable -path=secret kv').toMatchObject({
      stderr: expect.stringContaining('path is already in use at secret/'),
    })
  })

  test('kv put, get, patch, metadata, delete, undelete, destroy, rollback, list', async () => {
    await bao('kv put secret/app user=ada password=one')
    await bao('kv put -cas=1 secret/app user=ada password=two')
    await refused('kv put -cas=1 secret/app user=eve').toMatchObject({
      stderr: expect.stringContaining('check-and-set parameter did not match the current version'),
    })
    await bao('kv patch secret/app role=admin')
    expect((await json('kv get secret/app')).data.data).toEqual({ user: 'ada', password: 'two', role: 'admin' })
    expect((await json('kv get -version=1 secret/app')).data.data.password).toBe('one')
    expect((await bao('kv get -field=password secret/app')).trim()).toBe('two')
    await bao('kv metadata put -max-versions=5 -custom-metadata=owner=ada secret/app')
    await bao('kv metadata patch -custom-metadata=team=core secret/app')
    expect((await json('kv metadata get secret/app')).data).toMatchObject({
      max_versions: 5,
      current_version: 3,
      custom_metadata: { owner: 'ada', team: 'core' },
    })
    await bao('kv delete -versions=2 secret/app')
    expect(await bao('kv get -version=2 secret/app')).not.toContain('password')
    await bao('kv undelete -versions=2 secret/app')
    expect((await json('kv get -version=2 secret/app')).data.data.password).toBe('two')
    await bao('kv destroy -versions=1 secret/app')
    await bao('kv rollback -version=2 secret/app')
    expect((await json('kv get secret/app')).data.metadata.version).toBe(4)
    await bao('kv put secret/deep/er/key a=b')
    expect(await json('kv list secret')).toEqual(['app', 'deep/'])
    await bao('kv metadata delete secret/app')
    await refused('kv get secret/app').toMatchObject({ code: 2 })
  })

  test('policy write, read, list, fmt; auth enable; login -method=userpass', async () => {
    const policy = join(cluster.directory, 'app.hcl')
    const { writeFile } = await import('node:fs/promises')
    await writeFile(
      policy,
      'path "secret/data/app/*" {\n  capabilities = ["read"]\n}\npath "sys/replication/*" { capabilities = ["read", "update", "sudo"] }\n',
    )
    await bao(`policy write app ${policy}`)
    expect(await bao('policy read app')).toContain('secret/data/app/*')
    expect(await json('policy list')).toEqual(['app', 'default', 'root'])
    await bao('auth enable userpass')
    await bao('write auth/userpass/users/ada password=pw token_policies=app')
    const auth = (await json('login -no-store -method=userpass username=ada password=pw')).auth
    expect(auth.policies).toEqual(['app', 'default'])
    await refused('login -no-store -method=userpass username=ada password=wrong').toMatchObject({
      stderr: expect.stringContaining('invalid username or password'),
    })
    const root = token
    token = auth.client_token
    try {
      await refused('kv put secret/other a=b').toMatchObject({ stderr: expect.stringContaining('permission denied') })
      expect(await bao('token capabilities secret/data/app/x')).toContain('read')
      expect((await json('token lookup')).data.display_name).toBe('userpass-ada')
    } finally {
      token = root
    }
  })

  test('token create, lookup, renew, revoke; wrapping', async () => {
    const made = (await json('token create -policy=app -ttl=30m -use-limit=5')).auth
    expect(made).toMatchObject({ lease_duration: 1800, policies: ['app', 'default'], renewable: true })
    expect((await json(`token lookup -accessor ${made.accessor}`)).data.num_uses).toBe(5)
    await bao(`token revoke -accessor ${made.accessor}`)
    await refused(`token lookup ${made.client_token}`).toMatchObject({ stderr: expect.stringContaining('bad token') })
    const batch = (await json('token create -type=batch -policy=app -ttl=10m')).auth
    expect(batch.accessor).toBe('')
    expect(batch.client_token).toMatch(/^hvb\./)
    await bao('kv put secret/wrapped inside=yes')
    const wrapped = (await json('kv get -wrap-ttl=60s secret/wrapped')).wrap_info
    expect((await json(`unwrap ${wrapped.token}`)).data.data).toEqual({ inside: 'yes' })
    await refused(`unwrap ${wrapped.token}`).toMatchObject({
      stderr: expect.stringContaining('wrapping token is not valid or does not exist'),
    })
  })

  test('approle, transit, leases, audit, rotate, generate-root', async () => {
    await bao('auth enable approle')
    await bao('write auth/approle/role/ci token_policies=app secret_id_ttl=10m')
    const roleId = (await json('read auth/approle/role/ci/role-id')).data.role_id
    const secretId = (await json('write -f auth/approle/role/ci/secret-id')).data.secret_id
    const login = (await json(`write auth/approle/login role_id=${roleId} secret_id=${secretId}`)).auth
    expect(login.token_policies).toEqual(['app', 'default'])
    await bao('secrets enable transit')
    await bao('write -f transit/keys/orders')
    const { ciphertext } = (await json('write transit/encrypt/orders plaintext=aGVsbG8=')).data
    expect(ciphertext).toMatch(/^vault:v1:/)
    expect((await json(`write transit/decrypt/orders ciphertext=${ciphertext}`)).data.plaintext).toBe('aGVsbG8=')
    await bao(`audit enable file file_path=${join(cluster.directory, 'audit.log')}`)
    expect(await bao('audit list')).toContain('file/')
    await bao('operator rotate')
    expect(await bao('operator key-status')).toContain('2')
    expect((await json('read sys/leases/count type=irrevocable')).data.lease_count).toBe(0)
  })

  test('replication, by the commands of the tutorial', async () => {
    expect(await bao('write -f sys/replication/performance/primary/enable')).toContain(
      'WARNING! The following warnings were returned',
    )
    await waitFor('the primary role', async () => (await replicationStatus(cluster, 'performance'))?.mode === 'primary')
    const issued = await bao('write sys/replication/performance/primary/secondary-token id=west')
    expect(issued).toMatch(/wrapping_token:\s+ey/)
    const wrapping = /wrapping_token:\s+(\S+)/.exec(issued)![1]
    const root = token
    token = secondary.client.token
    try {
      expect(await bao(`write sys/replication/performance/secondary/enable token=${wrapping}`, secondary)).toContain(
        'successfully found secondary information',
      )
    } finally {
      token = root
    }
    await waitFor(
      'the stream',
      async () => (await replicationStatus(secondary, 'performance'))?.state === 'stream-wals',
    )
    expect(await bao('read sys/replication/status')).toMatch(/performance\s+map\[/)
    expect((await json('read sys/replication/performance/status')).data.known_secondaries).toEqual(['west'])
    const login = await json('login -no-store -method=userpass username=ada password=pw', secondary)
    expect(login.auth.policies).toContain('app')
  })

  test('seal', async () => {
    await bao('operator seal')
    await expect(bao('status')).rejects.toMatchObject({ code: 2 })
    await expect(bao('kv get secret/wrapped')).rejects.toMatchObject({
      stderr: expect.stringContaining('Vault is sealed'),
    })
  })
})
