import { generateActivationKey, openActivation } from '@lockstep/bootstrap'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Activation, fetchBootstrap } from '../../src/replication/activation/activate.ts'
import { generate, inSync, type Kind, link, type Node, startNode } from '../cluster.ts'

const nodes: Node[] = []
async function started(shares = 1, threshold = 1): Promise<Node> {
  const node = await startNode()
  nodes.push(node)
  await node.init(shares, threshold)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

async function publicKeyOf(node: Node, kind: Kind, data: Record<string, unknown> = {}): Promise<string> {
  const answer = await node.ask('update', `sys/replication/${kind}/secondary/generate-public-key`, data)
  expect(answer).toEqual({
    ...{ status: 200, warnings: null },
    data: { secondary_public_key: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/) },
  })
  return String(answer.data!.secondary_public_key)
}

async function sealedToken(primary: Node, kind: Kind, id: string, publicKey: string, ttl = '5m'): Promise<string> {
  const path = `sys/replication/${kind}/primary/secondary-token`
  const answer = await primary.ask('update', path, { id, ttl, secondary_public_key: publicKey })
  expect(answer).toEqual({
    status: 200,
    warnings: null,
    data: { token: expect.stringMatching(/^[\w-]+(\.[\w-]*){4}$/) },
  })
  expect(answer.wrapToken).toBeUndefined()
  return String(answer.data!.token)
}

const enable = (kind: Kind): string => `sys/replication/${kind}/secondary/enable`

describe('activation by public key', () => {
  let primary: Node
  let secondary: Node
  beforeEach(async () => {
    primary = await started()
    secondary = await started()
    await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
    await primary.ask('update', 'kv/a', { from: 'the primary' })
    await primary.change('sys/replication/performance/primary/enable')
  })

  /** Its own data answers as before, and no role has been taken on. */
  async function untouched(): Promise<void> {
    expect(await secondary.status('performance')).toEqual({ mode: 'disabled' })
    expect((await secondary.ask('read', 'sys/mounts')).status).toBe(200)
  }

  test('nothing but the cluster port is needed; the key is gone afterwards, and so is the use of the token', async () => {
    const publicKey = await publicKeyOf(secondary, 'performance')
    const token = await sealedToken(primary, 'performance', 'us', publicKey)
    // An API address at which nobody answers is not asked.
    const outcome = await secondary.change(enable('performance'), { token, primary_api_addr: 'http://127.0.0.1:1' })
    expect(outcome).toBe('changed')
    secondary.keys = primary.keys
    await inSync(primary, secondary, 'performance')
    secondary.token = await generate(secondary, 'root')
    expect((await secondary.ask('read', 'kv/a')).data).toEqual({ from: 'the primary' })
    expect(await primary.status('performance')).toMatchObject({ known_secondaries: ['us'] })

    await secondary.change('sys/replication/performance/secondary/disable')
    await expect(secondary.change(enable('performance'), { token })).rejects.toThrow('no key to open it with')
    expect((await secondary.ask('read', 'kv/a')).data).toEqual({ from: 'the primary' })
  })

  test('one who kept the private key gets the keyring once, also from a primary that was started anew', async () => {
    const keys = generateActivationKey()
    const token = await sealedToken(primary, 'performance', 'us', keys.publicKey)
    const activation = await opened(token, keys.privateKeyPem)
    const reply = await fetchBootstrap(activation)
    expect(reply.clusterId).toBe(activation.package.clusterId)
    await expect(fetchBootstrap(activation)).rejects.toThrow('its activation token was used before')

    await primary.close()
    const again = await primary.restart()
    nodes.push(again)
    await again.unseal()
    activation.package.primaryClusterAddr = String((await again.core.leader()).leader_cluster_address)
    await expect(fetchBootstrap(activation)).rejects.toThrow('its activation token was used before')
  })

  test('of two at once one gets the keyring', async () => {
    const keys = generateActivationKey()
    const activation = await opened(await sealedToken(primary, 'performance', 'us', keys.publicKey), keys.privateKeyPem)
    const outcomes = await Promise.allSettled([fetchBootstrap(activation), fetchBootstrap(activation)])
    // The later connection may replace the earlier one before it was answered; never are both answered.
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1)
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true)
  })

  test('past its expiry its certificate is refused on the cluster port', async () => {
    let ahead = 0
    const timed = await startNode({ clock: { now: () => Date.now() + ahead } })
    nodes.push(timed)
    await timed.init()
    await timed.change('sys/replication/performance/primary/enable')
    const activations = []
    for (const id of ['used', 'late']) {
      const keys = generateActivationKey()
      activations.push(await opened(await sealedToken(timed, 'performance', id, keys.publicKey), keys.privateKeyPem))
    }
    const [used, late] = activations as [Activation, Activation]
    await fetchBootstrap(used)
    ahead = 5 * 60_000
    await expect(fetchBootstrap(late)).rejects.toThrow('its activation token has expired unused')
    // One that was used in time still gets to the port; there it is told that it was.
    await expect(fetchBootstrap(used)).rejects.toThrow('its activation token was used before')
    expect(timed.logged.filter((line) => line.includes('keyring and operator key handed'))).toHaveLength(1)
  })

  test('forged, of another kind, for another or an older key, expired: refused, and nothing is touched', async () => {
    const old = await publicKeyOf(secondary, 'performance')
    const forOldKey = await sealedToken(primary, 'performance', 'old', old)
    const publicKey = await publicKeyOf(secondary, 'performance')
    const token = await sealedToken(primary, 'performance', 'us', publicKey)
    await primary.change('sys/replication/dr/primary/enable')
    const ofDr = await sealedToken(primary, 'dr', 'us', publicKey)
    const forOther = await sealedToken(primary, 'performance', 'other', generateActivationKey().publicKey)
    const expiring = await sealedToken(primary, 'performance', 'late', publicKey, '1s')
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const parts = token.split('.')
    const flipped = [...parts.slice(0, 3), parts[3]!.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')), parts[4]]
    const bad: [string, string][] = [
      [forOldKey, 'made for another key'],
      [ofDr, 'it activates a dr secondary, not a performance one'],
      [forOther, 'made for another key'],
      [expiring, 'it has expired'],
      [flipped.join('.'), 'cannot be decrypted'],
      ['a.b.c.d.e', 'token'],
    ]
    for (const [text, why] of bad) {
      const answer = await secondary.ask('update', enable('performance'), { token: text })
      expect(answer, why).toEqual({ code: 'CORE_INVALID_REQUEST', error: expect.stringContaining(why) })
      expect(answer.error).toContain('token')
      await untouched()
    }
    // The right one still works: the refusals spent nothing.
    expect(await secondary.change(enable('performance'), { token })).toBe('changed')
  })

  test('a failed attempt leaves key and token good', async () => {
    const publicKey = await publicKeyOf(secondary, 'performance')
    await primary.change('sys/replication/performance/primary/disable')
    await primary.change('sys/replication/performance/primary/enable', { primary_cluster_addr: 'https://127.0.0.1:1' })
    const token = await sealedToken(primary, 'performance', 'us', publicKey)
    await expect(secondary.change(enable('performance'), { token })).rejects.toThrow(
      'error fetching secondary bootstrap package: https://127.0.0.1:1',
    )
    await untouched()
    await primary.ask('update', 'sys/replication/performance/primary/revoke-secondary', { id: 'us' })
    await primary.change('sys/replication/performance/primary/disable')
    await primary.change('sys/replication/performance/primary/enable')
    const good = await sealedToken(primary, 'performance', 'us', publicKey)
    expect(await secondary.change(enable('performance'), { token: good })).toBe('changed')
  })

  test('public keys and roles it cannot be asked for', async () => {
    const path = 'sys/replication/performance/primary/secondary-token'
    for (const key of ['x', '%', 'A'.repeat(5000)]) {
      const answer = await primary.ask('update', path, { id: 'us', secondary_public_key: key })
      expect(answer).toEqual({
        code: 'CORE_INVALID_REQUEST',
        error: expect.stringContaining('secondary_public_key: expected the base64 text'),
      })
    }
    // A refused key takes no id.
    expect(await primary.status('performance')).toMatchObject({ known_secondaries: [] })
    const answer = await primary.ask('update', 'sys/replication/performance/secondary/generate-public-key')
    expect(answer).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'cluster is a performance replication primary',
    })
  })
})

test('a DR secondary moves to another primary by public key, with the consent of its operators, and without a wipe', async () => {
  const primary = await started()
  await primary.change('sys/replication/dr/primary/enable')
  const [next, dr] = [await started(), await started()]
  for (const [id, node] of Object.entries({ next, dr })) {
    await link(primary, node, 'dr', id)
    await inSync(primary, node, 'dr')
  }
  const consent = { dr_operation_token: await generate(dr, 'dr-operation') }
  const path = 'sys/replication/dr/secondary/generate-public-key'
  expect(await dr.ask('update', path, {}, { token: '' })).toMatchObject({
    error: expect.stringContaining('dr_operation'),
  })
  const publicKey = await publicKeyOf(dr, 'dr', consent)
  const promotion = { dr_operation_token: await generate(next, 'dr-operation') }
  expect(await next.change('sys/replication/dr/secondary/promote', promotion)).toBe('changed')
  next.token = primary.token
  const token = await sealedToken(next, 'dr', 'dr', publicKey)
  const update = 'sys/replication/dr/secondary/update-primary'
  expect(await dr.change(update, { ...consent, token })).toBe('changed')
  await inSync(next, dr, 'dr')
  await expect(dr.change(update, { ...consent, token })).rejects.toThrow('no key to open it with')
  await inSync(next, dr, 'dr')
})

/** What the secondary makes of a token, done here. */
async function opened(token: string, privateKey: string): Promise<Activation> {
  const found = await openActivation(token, { privateKey, kind: 'performance', now: Date.now() })
  const { caCertificate, clientCertificate: certificate, clientKey } = found
  return { package: found, primaryApiAddr: '', credentials: { caCertificate, certificate, privateKey: clientKey } }
}
