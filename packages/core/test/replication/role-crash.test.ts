// Power lost at every single write of a change of role: afterwards the cluster has the old role or the new one, with all that
// belongs to it.
import { afterEach, expect, test } from 'vitest'
import { activationToken, generate, inSync, link, type Node, startNode } from '../cluster.ts'
import { copyOf, faultyStore } from '../faulty-store.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

async function started(): Promise<Node> {
  const node = keep(await startNode())
  await node.init()
  return node
}

/** A DR primary with writes that its secondary never got; both stopped. */
async function torn(): Promise<{ primary: Node; dr: Node; consent: string }> {
  const primary = await started()
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await primary.change('sys/replication/dr/primary/enable')
  const dr = await started()
  await link(primary, dr, 'dr', 'dr')
  await primary.ask('update', 'kv/kept', { n: 0 })
  await inSync(primary, dr, 'dr')
  const consent = await generate(dr, 'dr-operation')
  await dr.close()
  for (const n of [1, 2, 3]) await primary.ask('update', `kv/lost${n}`, { n })
  await primary.close()
  return { primary, dr, consent }
}

/** Every place at which the change can be cut short; `check` sees what was found after the restart. */
async function everyCrash(
  prepared: Node,
  change: (node: Node, attempt: number) => Promise<unknown>,
  check: (node: Node, outcome: unknown) => Promise<'old' | 'new'>,
): Promise<void> {
  const seen: string[] = []
  for (let writes = 0; ; writes++) {
    const store = faultyStore(await copyOf(prepared.store))
    const node = keep(await startNode({ store }))
    Object.assign(node, { token: prepared.token, keys: prepared.keys })
    await node.unseal()
    store.failAfter(writes)
    const outcome = await change(node, writes).catch(() => 'refused')
    const { tripped } = store
    store.heal()
    const next = keep(await node.restart())
    await next.unseal()
    const state = await check(next, outcome)
    seen.push(state)
    if (outcome === 'changed') expect(state, `after ${writes} writes`).toBe('new')
    await next.close()
    if (!tripped) break
  }
  expect(seen).toContain('old')
  expect(seen.at(-1)).toBe('new')
  expect(seen.length).toBeGreaterThan(2)
}

test('demote, of a DR primary', async () => {
  const { primary } = await torn()
  const path = 'sys/replication/dr/primary/demote'
  await everyCrash(
    primary,
    (node) => node.change(path),
    async (node) => {
      const status = await node.status('dr')
      if (status.mode === 'primary') {
        expect(status).toMatchObject({ known_secondaries: ['dr'] })
        expect((await node.ask('read', 'kv/lost3')).data).toEqual({ n: 3 })
        expect(await node.change(path)).toBe('changed')
        return 'old'
      }
      expect(status).toMatchObject({ mode: 'secondary', secondary_id: '', state: 'idle' })
      return 'new'
    },
  )
})

test('demote, of a performance primary', async () => {
  const primary = await started()
  await primary.change('sys/replication/performance/primary/enable')
  await activationToken(primary, 'performance', 'us')
  await primary.close()
  const path = 'sys/replication/performance/primary/demote'
  await everyCrash(
    primary,
    (node) => node.change(path),
    async (node) => {
      const { mode, known_secondaries } = await node.status('performance')
      if (mode === 'primary') {
        expect(known_secondaries).toEqual(['us'])
        expect(await node.ask('update', 'sys/mounts/kv', { type: 'kv' })).toMatchObject({ status: 204 })
        return 'old'
      }
      expect(mode).toBe('secondary')
      return 'new'
    },
  )
})

test('promote, of a DR secondary: role, receipt, hold and the end of its operation token come together', async () => {
  const { primary, dr, consent } = await torn()
  const path = 'sys/replication/dr/secondary/promote'
  const fields = { dr_operation_token: consent, force: true }
  await everyCrash(
    dr,
    (node) => node.change(path, fields),
    async (node) => {
      const { mode } = await node.status('dr')
      node.token = primary.token
      if (mode === 'secondary') {
        // Also the token is still good.
        expect(await node.change(path, fields)).toBe('changed')
      }
      const { data } = await node.ask('read', 'sys/replication/dr/promotion-receipts')
      expect(data!.receipts).toMatchObject([{ forced: true, inherited: false }])
      expect((await node.ask('read', 'sys/leases/revocation-hold')).data).toMatchObject({ held: true })
      expect((await node.ask('read', 'kv/kept')).data).toEqual({ n: 0 })
      return mode === 'secondary' ? 'old' : 'new'
    },
  )
})

test('update-primary, of a former primary: what nobody else got is kept before anything is replaced', async () => {
  const { primary, dr, consent } = await torn()
  const next = keep(await dr.restart())
  await next.unseal()
  const force = { dr_operation_token: consent, force: true }
  expect(await next.change('sys/replication/dr/secondary/promote', force)).toBe('changed')
  next.token = primary.token
  const old = keep(await primary.restart())
  await old.unseal()
  await old.change('sys/replication/dr/primary/demote')
  const own = await generate(old, 'dr-operation')
  await old.close()

  const path = 'sys/replication/dr/secondary/update-primary'
  const listing = 'sys/replication/dr/secondary/unreplicated'
  const kept = async (node: Node): Promise<string[]> => {
    const asked = { dr_operation_token: own }
    const sets = (await node.ask('update', listing, asked)).data!.keys as string[]
    const pages = await Promise.all(sets.map((id) => node.ask('update', `${listing}/${id}`, asked)))
    return pages.flatMap(({ data }) => (data!.keys as { key: string }[]).map(({ key }) => key.split('/').at(-1)!))
  }
  const lost = ['lost1', 'lost2', 'lost3']
  await everyCrash(
    old,
    async (node, attempt) => {
      const token = await activationToken(next, 'dr', `s${attempt}`)
      return node.change(path, { dr_operation_token: own, token })
    },
    async (node) => {
      const { mode, secondary_id: id } = await node.status('dr')
      expect(mode).toBe('secondary')
      const state = id === '' ? 'old' : 'new'
      expect(await kept(node)).toEqual(state === 'old' ? [] : lost)
      if (state === 'old') {
        const token = await activationToken(next, 'dr', `again-${nodes.length}`)
        expect(await node.change(path, { dr_operation_token: own, token })).toBe('changed')
      }
      await inSync(next, node, 'dr')
      expect(await kept(node)).toEqual(lost)
      return state
    },
  )
})
