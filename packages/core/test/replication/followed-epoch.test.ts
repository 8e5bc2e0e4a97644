// What a performance secondary has followed binds its DR secondary too, once that one is promoted in its place.
import { afterEach, expect, test } from 'vitest'
import { generate, inSync, link, type Node, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
async function started(): Promise<Node> {
  const node = await startNode()
  nodes.push(node)
  await node.init()
  return node
}
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

async function follow(node: Node, primary: Node): Promise<void> {
  const { leader_cluster_address: address } = await primary.core.leader()
  const path = 'sys/replication/performance/secondary/update-primary'
  expect(await node.ask('update', path, { update_primary_addrs: address })).toMatchObject({ status: 200 })
}

async function promoteDr(node: Node): Promise<void> {
  const dr_operation_token = await generate(node, 'dr-operation')
  const path = 'sys/replication/dr/secondary/promote'
  expect(await node.change(path, { dr_operation_token, force: true })).toBe('changed')
}

/** `next` was promoted in the place of `old`, which still runs; `edge` follows `next` and has a DR secondary of its own. */
async function afterPromotion() {
  const [old, next, edge, edgeDr] = [await started(), await started(), await started(), await started()]
  await old.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await old.change('sys/replication/performance/primary/enable')
  await old.change('sys/replication/dr/primary/enable')
  await link(old, next, 'dr', 'next')
  await link(old, edge, 'performance', 'edge')
  await Promise.all([inSync(old, next, 'dr'), inSync(old, edge, 'performance')])
  edge.token = await generate(edge, 'root')
  await edge.change('sys/replication/dr/primary/enable')
  await link(edge, edgeDr, 'dr', 'edge-dr')
  await promoteDr(next)
  next.token = old.token
  await follow(edge, next)
  await next.ask('update', 'kv/new', { by: 'the new primary' })
  await inSync(next, edge, 'performance')
  await inSync(edge, edgeDr, 'dr')
  await edge.close()
  return { old, next, edge, edgeDr }
}

async function refuses(node: Node, stale: Node): Promise<void> {
  await follow(node, stale)
  const status = await waitFor('the refusal', async () => {
    const shown = await node.status('performance')
    return /epoch/.test(shown.last_error as string) ? shown : false
  })
  expect(status).toMatchObject({ state: 'idle' })
  expect(await stale.status('performance')).toMatchObject({ fenced_by: 'edge', fenced_by_epoch: 2 })
  expect((await node.ask('read', 'kv/new')).data).toEqual({ by: 'the new primary' })
}

test('the DR secondary of a performance secondary, promoted, refuses the primary that was replaced before', async () => {
  const { old, next, edge, edgeDr } = await afterPromotion()
  await next.close()
  // The old primary is the first it ever dials, and its certificate is as good as ever.
  await promoteDr(edgeDr)
  edgeDr.token = edge.token
  await refuses(edgeDr, old)
  // And were it promoted, those who followed the new primary would follow it.
  const preview = await edgeDr.ask('update', 'sys/replication/performance/secondary/promote', { dry_run: true })
  expect(preview.data).toMatchObject({ epoch: 2, next_epoch: 3 })
})

test('it follows the new primary, and refuses the old one after that too', async () => {
  const { old, next, edge, edgeDr } = await afterPromotion()
  await promoteDr(edgeDr)
  edgeDr.token = edge.token
  await inSync(next, edgeDr, 'performance')
  await refuses(edgeDr, old)
})
