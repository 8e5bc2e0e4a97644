// node-vault (npm), unmodified, against our server: its typed commands, and replication through its generic read and write.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Cluster, freePort, replicationStatus, waitFor, waitUntilInSync } from '@lockstep/dev-env'
import nodeVault from 'node-vault'
import { beforeAll, describe, expect, test } from 'vitest'
import { scratch } from '../scratch.ts'

const files = scratch()

/** Why a call of node-vault was refused: it keeps the status and the body, its message is the first error. */
async function refusal(work: Promise<unknown>): Promise<{ status: number; message: string }> {
  try {
    await work
  } catch (error) {
    const { message, response } = error as Error & { response?: { statusCode: number } }
    return { status: response?.statusCode ?? 0, message }
  }
  throw new Error('it was accepted')
}

describe('node-vault', () => {
  let cluster: Cluster
  let vault: nodeVault.client

  beforeAll(async () => {
    cluster = await files.cluster('primary', { bare: true })
    vault = nodeVault({ endpoint: cluster.address })
  })

  // Logins, tokenCreate and tokenRenew of node-vault make the client use the token they return.
  const asRoot = () => nodeVault({ endpoint: cluster.address, token: cluster.client.token })

  test('init, unseal, status, health, leader', async () => {
    expect(await vault.initialized()).toEqual({ initialized: false })
    expect(await vault.health()).toMatchObject({ initialized: false, sealed: true })
    const made = await vault.init({ secret_shares: 3, secret_threshold: 2 })
    expect(made.keys).toHaveLength(3)
    expect(await vault.status()).toMatchObject({ initialized: true, sealed: true, t: 2, n: 3, progress: 0 })
    expect(await vault.unseal({ key: made.keys[0] })).toMatchObject({ sealed: true, progress: 1 })
    expect(await vault.unseal({ reset: true })).toMatchObject({ sealed: true, progress: 0 })
    await vault.unseal({ key: made.keys[2] })
    expect(await vault.unseal({ key: made.keys_base64[1] })).toMatchObject({ sealed: false, progress: 0 })
    vault.token = made.root_token
    cluster.keys = made.keys
    cluster.client.token = made.root_token
    expect(await vault.health()).toMatchObject({ initialized: true, sealed: false, standby: false })
    expect(await vault.leader()).toMatchObject({ is_self: true, leader_address: cluster.address })
    expect(await refusal(vault.init({ secret_shares: 1, secret_threshold: 1 }))).toEqual({
      status: 400,
      message: 'Vault is already initialized',
    })
  })

  test('mounts: enable, local, tune, remount, disable', async () => {
    await vault.mount({ mount_point: 'old', type: 'kv', description: 'plain' })
    await vault.mount({ mount_point: 'here', type: 'kv', local: true })
    await vault.mount({ mount_point: 'secret', type: 'kv', options: { version: '2' } })
    const mounts = await vault.mounts()
    expect(mounts['old/']).toMatchObject({ type: 'kv', description: 'plain', local: false })
    expect(mounts.data['here/'].local).toBe(true)
    expect(mounts['secret/'].options).toEqual({ version: '2' })
    await vault.write('sys/mounts/old/tune', { default_lease_ttl: '1h', max_lease_ttl: '2h' })
    expect((await vault.read('sys/mounts/old/tune')).data).toMatchObject({
      default_lease_ttl: 3600,
      max_lease_ttl: 7200,
    })
    await vault.remount({ from: 'old', to: 'kv1' })
    await waitFor('the move', async () => (await vault.mounts())['kv1/'] !== undefined)
    expect(await refusal(vault.mount({ mount_point: 'kv1', type: 'kv' }))).toEqual({
      status: 400,
      message: 'path is already in use at kv1/',
    })
    expect((await refusal(vault.mount({ mount_point: 'x', type: 'no-such' }))).message).toContain('no-such')
    await vault.unmount({ mount_point: 'here' })
    expect(await vault.mounts()).not.toHaveProperty(['here/'])
  })

  test('kv version 1', async () => {
    await vault.write('kv1/app/one', { user: 'ada', count: 2, deep: { list: [1, 'two', null] } })
    const read = await vault.read('kv1/app/one')
    expect(read.data).toEqual({ user: 'ada', count: 2, deep: { list: [1, 'two', null] } })
    await vault.write('kv1/app/two', { a: 'b' })
    expect((await vault.list('kv1/app')).data.keys).toEqual(['one', 'two'])
    await vault.delete('kv1/app/two')
    expect(await refusal(vault.read('kv1/app/two'))).toEqual({ status: 404, message: 'Status 404' })
    const byQuery = nodeVault({ endpoint: cluster.address, token: vault.token, noCustomHTTPVerbs: true })
    expect((await byQuery.list('kv1/app')).data.keys).toEqual(['one'])
  })

  test('kv version 2: put, get, patch, versions, list, delete, undelete, destroy', async () => {
    expect((await vault.write('secret/data/app', { data: { user: 'ada', password: 'one' } })).data.version).toBe(1)
    await vault.write('secret/data/app', { data: { user: 'ada', password: 'two' }, options: { cas: 1 } })
    expect((await refusal(vault.write('secret/data/app', { data: {}, options: { cas: 1 } }))).message).toContain(
      'check-and-set parameter did not match the current version',
    )
    expect((await vault.update('secret/data/app', { data: { role: 'admin' } })).data.version).toBe(3)
    expect((await vault.read('secret/data/app')).data.data).toEqual({ user: 'ada', password: 'two', role: 'admin' })
    expect((await vault.read('secret/data/app?version=1')).data.data.password).toBe('one')
    expect((await vault.list('secret/metadata')).data.keys).toEqual(['app'])
    await vault.write('secret/metadata/app', { max_versions: 5, custom_metadata: { owner: 'ada' } })
    expect((await vault.read('secret/metadata/app')).data).toMatchObject({
      current_version: 3,
      max_versions: 5,
      custom_metadata: { owner: 'ada' },
    })
    await vault.delete('secret/data/app')
    expect((await refusal(vault.read('secret/data/app'))).status).toBe(404)
    await vault.write('secret/undelete/app', { versions: [3] })
    expect((await vault.read('secret/data/app')).data.metadata.version).toBe(3)
    await vault.destroySecretVersions({ mount_point: 'secret', path: 'app', versions: [1] })
    expect((await refusal(vault.read('secret/data/app?version=1'))).status).toBe(404)
    await vault.delete('secret/metadata/app')
    expect((await refusal(vault.list('secret/metadata'))).status).toBe(404)
  })

  test('policies', async () => {
    const rules = 'path "secret/data/app/*" { capabilities = ["read", "update", "create"] }'
    await vault.addPolicy({ name: 'app', rules })
    expect(await vault.getPolicy({ name: 'app' })).toMatchObject({ name: 'app', rules, data: { name: 'app', rules } })
    expect((await vault.policies()).policies).toEqual(['app', 'default', 'root'])
    await vault.addPolicy({ name: 'gone', rules })
    await vault.removePolicy({ name: 'gone' })
    expect((await refusal(vault.getPolicy({ name: 'gone' }))).status).toBe(404)
    expect((await refusal(vault.addPolicy({ name: 'bad', rules: 'path "x" {' }))).status).toBe(400)
  })

  test('userpass', async () => {
    await vault.enableAuth({ mount_point: 'userpass', type: 'userpass' })
    expect((await vault.auths())['userpass/']).toMatchObject({ type: 'userpass', local: false })
    await vault.write('auth/userpass/users/ada', { password: 'pw', token_policies: 'app' })
    const user = nodeVault({ endpoint: cluster.address })
    const login = await user.userpassLogin({ username: 'ada', password: 'pw' })
    expect(login.auth).toMatchObject({ policies: ['app', 'default'], metadata: { username: 'ada' }, renewable: true })
    expect(user.token).toBe(login.auth.client_token)
    await user.write('secret/data/app/x', { data: { a: 'b' } })
    expect((await refusal(user.write('secret/data/other', { data: {} }))).status).toBe(403)
    expect(await refusal(user.userpassLogin({ username: 'ada', password: 'no' }))).toEqual({
      status: 400,
      message: 'invalid username or password',
    })
  })

  test('approle', async () => {
    await vault.enableAuth({ mount_point: 'approle', type: 'approle' })
    await vault.addApproleRole({
      role_name: 'ci',
      policies: 'app',
      secret_id_ttl: 600,
      token_ttl: 900,
      bind_secret_id: true,
    })
    expect((await vault.getApproleRole({ role_name: 'ci' })).data).toMatchObject({
      token_policies: ['app'],
      secret_id_ttl: 600,
      token_ttl: 900,
    })
    expect((await vault.approleRoles()).data.keys).toEqual(['ci'])
    await vault.updateApproleRoleId({ role_name: 'ci', role_id: 'chosen-role-id' })
    expect((await vault.getApproleRoleId({ role_name: 'ci' })).data.role_id).toBe('chosen-role-id')
    const secret = (await vault.getApproleRoleSecret({ role_name: 'ci', metadata: '{"build":"7"}' })).data
    const accessors = await vault.approleSecretAccessors({ role_name: 'ci' })
    expect(accessors.data.keys).toEqual([secret.secret_id_accessor])
    const looked = await vault.approleSecretLookup({ role_name: 'ci', secret_id: secret.secret_id })
    expect(looked.data).toMatchObject({ secret_id_accessor: secret.secret_id_accessor, metadata: { build: '7' } })
    const app = nodeVault({ endpoint: cluster.address })
    const login = await app.approleLogin({ role_id: 'chosen-role-id', secret_id: secret.secret_id })
    expect(login.auth).toMatchObject({ token_policies: ['app', 'default'], lease_duration: 900 })
    await vault.approleSecretDestroy({ role_name: 'ci', secret_id: secret.secret_id })
    expect(await refusal(app.approleLogin({ role_id: 'chosen-role-id', secret_id: secret.secret_id }))).toEqual({
      status: 400,
      message: 'invalid role or secret ID',
    })
    await vault.deleteApproleRole({ role_name: 'ci' })
    expect((await refusal(vault.getApproleRole({ role_name: 'ci' }))).status).toBe(404)
  })

  test('tokens: create, lookup, renew, revoke, roles', async () => {
    const made = (
      await asRoot().tokenCreate({ policies: ['app'], ttl: '30m', display_name: 'job', meta: { of: 'ci' } })
    ).auth
    expect(made).toMatchObject({ policies: ['app', 'default'], lease_duration: 1800, renewable: true, orphan: false })
    const looked = (await vault.tokenLookup({ token: made.client_token })).data
    expect(looked).toMatchObject({ id: made.client_token, display_name: 'token-job', meta: { of: 'ci' } })
    expect((await vault.tokenLookupAccessor({ accessor: made.accessor })).data.id).toBe('')
    expect((await vault.tokenAccessors()).data.keys).toContain(made.accessor)
    expect((await asRoot().tokenRenew({ token: made.client_token, increment: '1h' })).auth.lease_duration).toBe(3600)
    const own = nodeVault({ endpoint: cluster.address, token: made.client_token })
    expect((await own.tokenLookupSelf()).data.accessor).toBe(made.accessor)
    expect((await own.tokenRenewSelf({ increment: 600 })).auth.client_token).toBe(made.client_token)
    await own.tokenRevokeSelf()
    expect((await refusal(own.tokenLookupSelf())).status).toBe(403)
    const second = (await asRoot().tokenCreate({ policies: ['app'] })).auth
    await vault.tokenRevokeAccessor({ accessor: second.accessor })
    expect((await refusal(vault.tokenLookup({ token: second.client_token }))).status).toBe(403)
    const orphan = (await asRoot().tokenCreateOrphan({ policies: ['app'] })).auth
    expect(orphan.orphan).toBe(true)
    await vault.tokenRevoke({ token: orphan.client_token })
    await vault.addTokenRole({ role_name: 'batch', allowed_policies: 'app' })
    expect((await vault.tokenRoles()).data.keys).toEqual(['batch'])
    expect((await vault.getTokenRole({ role_name: 'batch' })).data.allowed_policies).toEqual(['app'])
    expect((await asRoot().tokenCreateRole({ role_name: 'batch', policies: ['app'] })).auth.policies).toContain('app')
    await vault.removeTokenRole({ role_name: 'batch' })
    expect((await refusal(vault.getTokenRole({ role_name: 'batch' }))).status).toBe(404)
  })

  test('wrapping', async () => {
    const headers = { 'X-Vault-Wrap-TTL': '60s' }
    const wrapped = await vault.write('sys/wrapping/wrap', { inside: 'yes' }, { headers })
    expect(wrapped.wrap_info).toMatchObject({ ttl: 60, creation_path: 'sys/wrapping/wrap' })
    const { token } = wrapped.wrap_info
    expect((await vault.write('sys/wrapping/lookup', { token })).data.creation_ttl).toBe(60)
    expect((await vault.unwrap({ token })).data).toEqual({ inside: 'yes' })
    expect(await refusal(vault.unwrap({ token }))).toEqual({
      status: 400,
      message: 'wrapping token is not valid or does not exist',
    })
    await vault.write('kv1/wrapped', { a: 'b' })
    const read = await vault.read('kv1/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } })
    const bearer = nodeVault({ endpoint: cluster.address, token: read.wrap_info.token })
    expect((await bearer.unwrap()).data).toEqual({ a: 'b' })
  })

  test('transit', async () => {
    await vault.mount({ mount_point: 'transit', type: 'transit' })
    await vault.transitCreateKey({ name: 'orders' })
    expect((await vault.transitReadKey({ name: 'orders' })).data).toMatchObject({ name: 'orders', latest_version: 1 })
    expect((await vault.transitListKeys()).data.keys).toEqual(['orders'])
    const plaintext = Buffer.from('4111 1111').toString('base64')
    const { ciphertext } = (await vault.encryptData({ name: 'orders', plaintext })).data
    expect((await vault.decryptData({ name: 'orders', ciphertext })).data.plaintext).toBe(plaintext)
    await vault.write('transit/keys/orders/rotate', {})
    const again = (await vault.rewrapData({ name: 'orders', ciphertext })).data.ciphertext
    expect(again).toMatch(/^vault:v2:/)
    const { hmac } = (await vault.write('transit/hmac/orders', { input: plaintext })).data
    expect((await vault.write('transit/verify/orders', { input: plaintext, hmac })).data.valid).toBe(true)
    await vault.write('transit/keys/orders/config', { deletion_allowed: true })
    await vault.transitDeleteKey({ name: 'orders' })
    expect((await refusal(vault.transitReadKey({ name: 'orders' }))).status).toBe(404)
  })

  test('audit', async () => {
    const log = join(cluster.directory, 'audit.log')
    await vault.enableAudit({ name: 'file', type: 'file', options: { file_path: log } })
    expect((await vault.audits())['file/']).toMatchObject({ type: 'file', options: { file_path: log } })
    await vault.write('kv1/audited', { password: 'never in clear' })
    const lines = (await readFile(log, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.filter(({ request }) => request.path === 'kv1/audited').map(({ type }) => type)).toEqual([
      'request',
      'response',
    ])
    expect(JSON.stringify(lines)).not.toContain('never in clear')
    await vault.disableAudit({ name: 'file' })
    expect(await vault.audits()).not.toHaveProperty(['file/'])
  })

  test('leases and rotation', async () => {
    await vault.rotate()
    expect((await vault.read('sys/key-status')).data.term).toBe(2)
    expect((await refusal(vault.renew({ lease_id: 'nowhere/x' }))).status).toBe(400)
    const { client_token } = (await asRoot().tokenCreate({ policies: ['app'], ttl: '10m' })).auth
    await vault.revokePrefix({ path_prefix: 'auth/token/create' })
    expect((await refusal(vault.tokenLookup({ token: client_token }))).status).toBe(403)
  })

  test('help', async () => {
    expect((await vault.help('sys/mounts')).help).toEqual(expect.any(String))
  })

  test('generate-root', async () => {
    expect(await vault.read('sys/generate-root/attempt')).toMatchObject({
      started: false,
      required: 2,
      complete: false,
    })
    const { nonce, otp } = (await vault.generateRootInit()) as { nonce: string; otp: string }
    await vault.generateRootUpdate({ key: cluster.keys[0], nonce })
    const done = await vault.generateRootUpdate({ key: cluster.keys[1], nonce })
    expect(done).toMatchObject({ complete: true, started: true, progress: 2 })
    const code = Buffer.from(otp)
    const token = Buffer.from(done.encoded_root_token, 'base64').map((byte, index) => byte ^ code[index]!)
    const root = nodeVault({ endpoint: cluster.address, token: Buffer.from(token).toString() })
    expect((await root.tokenLookupSelf()).data.policies).toEqual(['root'])
    await vault.generateRootInit()
    await vault.generateRootCancel()
    expect(await vault.read('sys/generate-root/attempt')).toMatchObject({ started: false })
  })

  test('replication, by read and write', async () => {
    const secondary = await files.cluster('secondary')
    const west = nodeVault({ endpoint: secondary.address, token: secondary.client.token })
    expect((await vault.read('sys/replication/status')).data).toEqual({
      dr: { mode: 'disabled' },
      performance: { mode: 'disabled' },
    })
    const enabled = await vault.write('sys/replication/performance/primary/enable', {})
    expect(enabled.warnings[0]).toContain('being enabled as a primary for replication')
    await waitFor('the primary role', async () => (await replicationStatus(cluster, 'performance'))?.mode === 'primary')
    const issued = await vault.write('sys/replication/performance/primary/secondary-token', { id: 'west' })
    await west.write('sys/replication/performance/secondary/enable', { token: issued.wrap_info.token })
    await waitUntilInSync(cluster, secondary, 'performance')
    const status = (await vault.read('sys/replication/performance/status')).data
    expect(status).toMatchObject({ mode: 'primary', state: 'running', known_secondaries: ['west'] })
    await vault.write('sys/replication/performance/primary/paths-filter/west', { mode: 'deny', paths: ['kv1/'] })
    expect((await vault.read('sys/replication/performance/primary/paths-filter/west')).data).toEqual({
      mode: 'deny',
      paths: ['kv1/'],
    })
    await west.userpassLogin({ username: 'ada', password: 'pw' })
    await west.write('secret/data/app/from-west', { data: { by: 'west' } })
    expect((await vault.read('secret/data/app/from-west')).data.data).toEqual({ by: 'west' })
    expect(await west.health()).toMatchObject({ replication_performance_mode: 'secondary' })
  })

  test('seal, and a server that is not there', async () => {
    console.time('s')
    await vault.seal()
    console.timeLog('s')
    expect(await vault.status()).toMatchObject({ sealed: true })
    expect(await refusal(vault.read('kv1/app/one'))).toEqual({ status: 503, message: 'Vault is sealed' })
    console.timeLog('s')
    const nobody = nodeVault({ endpoint: `http://127.0.0.1:${await freePort()}`, token: 'x' })
    expect((await refusal(nobody.read('kv1/app/one'))).message).toContain('ECONNREFUSED')
  })
})
