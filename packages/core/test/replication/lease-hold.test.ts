// After a promotion that nobody handed over, nothing is revoked for having expired until that is known to be right.
import type { Backend, BackendFactory } from '@lockstep/backend'
import { afterEach, expect, test } from 'vitest'
import { generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

/** Leases a secret with every read, for as many seconds as its name says, and tells which it was asked to revoke. */
function leasing(): { options: NodeOptions; revoked: string[] } {
  const revoked: string[] = []
  const secrets: BackendFactory = (): Backend => ({
    type: 'creds',
    special: {},
    async handle({ operation, path, lease }) {
      if (operation === 'revoke') revoked.push(String(lease?.internalData.name))
      if (operation !== 'read') return undefined
      const [name, ttl] = path.split('-')
      const secret = { ttl: Number(ttl), maxTtl: 0, renewable: false, internalData: { name } }
      return { data: { name }, secret }
    },
  })
  const cubbyhole: BackendFactory = () => ({ type: 'cubbyhole', special: {}, handle: async () => undefined })
  const secret = new Map([
    ['creds', secrets],
    ['cubbyhole', cubbyhole],
  ])
  return { options: { factories: { secret, auth: new Map() } }, revoked }
}

const hold = 'sys/leases/revocation-hold'

test('the hold: expired leases wait, expired tokens do not work, revocation by hand does; it survives a restart', async () => {
  const { options, revoked } = leasing()
  const primary = keep(await startNode(options))
  await primary.init()
  await primary.ask('update', 'sys/mounts/creds', { type: 'creds' })
  await primary.change('sys/replication/dr/primary/enable')
  let ahead = 0
  const dr = keep(await startNode({ ...options, clock: { now: () => Date.now() + ahead } }))
  await dr.init()
  await link(primary, dr, 'dr', 'dr')
  await inSync(primary, dr, 'dr')
  for (const name of ['one-600', 'two-600', 'long-3000']) await primary.ask('read', `creds/${name}`)
  const short = (await primary.ask('update', 'auth/token/create', { ttl: '10m', policies: ['default'] })).auth!
    .client_token
  await inSync(primary, dr, 'dr')
  await primary.close()
  expect(revoked).toEqual([])
  const consent = await generate(dr, 'dr-operation')
  const fields = { dr_operation_token: consent, force: true }
  expect(await dr.change('sys/replication/dr/secondary/promote', fields)).toBe('changed')
  dr.token = primary.token

  expect((await dr.ask('read', hold)).data).toMatchObject({ held: true, expired_leases_waiting: 0 })
  ahead = 20 * 60_000
  expect((await dr.ask('read', hold)).data).toMatchObject({
    ...{ held: true, reason: expect.stringContaining('epoch'), expired_leases_waiting: 3 },
  })
  expect(await dr.ask('read', 'auth/token/lookup-self', {}, { token: short })).toMatchObject({
    code: 'CORE_PERMISSION_DENIED',
  })
  const { data } = await dr.ask('list', 'sys/leases/lookup/creds/long-3000')
  const [lease] = data!.keys as string[]
  await dr.ask('update', 'sys/leases/revoke', { lease_id: `creds/long-3000/${lease}` })
  expect(revoked).toEqual(['long'])

  const again = keep(await dr.restart())
  again.token = dr.token
  await again.unseal()
  expect((await again.ask('read', hold)).data).toMatchObject({ held: true, expired_leases_waiting: 3 })
  expect(await again.status('dr')).toMatchObject({ lease_revocation_held: true })
  expect(revoked).toEqual(['long'])

  await again.ask('update', 'sys/policies/acl/leases', { policy: 'path "sys/leases/*" { capabilities = ["update"] }' })
  const plain = (await again.ask('update', 'auth/token/create', { policies: ['leases'] })).auth!.client_token
  const confirm = `${hold}/confirm`
  expect(await again.ask('update', confirm, {}, { token: plain })).toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
  expect(await again.ask('update', confirm)).toMatchObject({ status: 204 })
  await waitFor('the revocations', async () => revoked.length === 3)
  expect(revoked.slice(1).sort()).toEqual(['one', 'two'])
  expect((await again.ask('read', hold)).data).toMatchObject({ held: false, since: '', reason: '' })
  const last = keep(await again.restart())
  last.token = dr.token
  await last.unseal()
  expect((await last.ask('read', hold)).data).toMatchObject({ held: false })
})
