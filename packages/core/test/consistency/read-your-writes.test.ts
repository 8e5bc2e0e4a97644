import { memoryStore } from '@lockstep/storage'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'
import { type HeldStore, heldStore } from './held-store.ts'

const nodes: Node[] = []
const held: HeldStore[] = []
async function started(options: NodeOptions = {}): Promise<Node> {
  const node = await startNode(options)
  nodes.push(node)
  await node.init()
  return node
}
async function closeAll(): Promise<void> {
  for (const store of held.splice(0)) store.release()
  await Promise.all(nodes.splice(0).map((node) => node.close()))
}
function holdable(): HeldStore {
  const store = heldStore(memoryStore())
  held.push(store)
  return store
}

const MISSING = { code: 'CORE_INDEX_NOT_PRESENT', error: 'required index state not present' }
const soon = { walWaitMs: 50 }

function read(node: Node, path: string, index?: string, headers: Record<string, string> = {}): Promise<Answer> {
  return node.ask(
    'read',
    path,
    {},
    { headers: { ...headers, ...(index === undefined ? {} : { 'x-vault-index': index }) } },
  )
}

function write(node: Node, path: string, data: Record<string, unknown>, index?: string): Promise<Answer> {
  return node.ask('update', path, data, { headers: index === undefined ? {} : { 'x-vault-index': index } })
}

function shown(index: string | undefined): { cluster: string; local: number; replicated: number } {
  const [, cluster, local, replicated] = Buffer.from(index!, 'base64').toString().split(':')
  return { cluster: cluster!, local: Number(local), replicated: Number(replicated) }
}

/** A primary with `kv/` and a secondary of it that has a root token. */
async function pair(options: NodeOptions = {}): Promise<{ primary: Node; secondary: Node }> {
  const primary = await started()
  await primary.change('sys/replication/performance/primary/enable')
  await write(primary, 'sys/mounts/kv', { type: 'kv' })
  return { primary, secondary: await joined(primary, 'b', options) }
}

async function joined(primary: Node, id: string, options: NodeOptions = {}): Promise<Node> {
  const node = await started(options)
  await link(primary, node, 'performance', id)
  await inSync(primary, node, 'performance')
  node.token = await generate(node, 'root')
  return node
}

describe('a cluster alone', () => {
  afterEach(closeAll)

  test('names its state where something was written or a state was named, and takes it back', async () => {
    const node = await started()
    await write(node, 'sys/mounts/kv', { type: 'kv' })
    const written = await write(node, 'kv/a', { n: 1 })
    const before = shown(written.index)
    expect(before.local).toBe((await node.core.health()).body.last_wal)
    expect(before.replicated).toBe(before.local)
    expect(before.cluster).toMatch(new RegExp(`^${(await node.core.health()).body.cluster_id}\\.[0-9a-f]{8}$`))
    const answer = await read(node, 'kv/a', written.index)
    expect(answer).toMatchObject({ data: { n: 1 }, index: written.index })
    // Nothing there is an answer too.
    expect(await read(node, 'kv/none', written.index)).toMatchObject({ code: 'CORE_NOT_FOUND', index: written.index })
    expect(await read(node, 'kv/a')).not.toHaveProperty('index')
    expect(shown((await write(node, 'kv/a', { n: 2 })).index).local).toBeGreaterThan(before.local)
  })

  test('keeps its state over a restart', async () => {
    const node = await started()
    await write(node, 'sys/mounts/kv', { type: 'kv' })
    const { index } = await write(node, 'kv/a', { n: 1 })
    const again = await node.restart()
    nodes.push(again)
    await again.unseal()
    expect(await read(again, 'kv/a', index)).toMatchObject({ data: { n: 1 } })
  })

  test('refuses states that are malformed, forged, or of others', async () => {
    const [node, other] = [await started(), await started()]
    const theirs = (await write(other, 'sys/mounts/kv', { type: 'kv' })).index!
    for (const [index, text] of [
      ['rubbish!', 'X-Vault-Index: state 1 is not base64'],
      [Buffer.from('v1:a.b:1:1').toString('base64'), 'X-Vault-Index: state 1 is malformed'],
      [theirs, 'X-Vault-Index: state 1 was not made by this cluster or its replication set (HMAC mismatch)'],
    ]) {
      const answer = await read(node, 'sys/mounts', index)
      expect(answer).toEqual({ code: 'CORE_INVALID_REQUEST', error: text })
    }
  })

  test('what asks for forwarding is refused unless the configuration allows it', async () => {
    const [node, allowing] = [await started(), await started({ core: { allowForwardingViaHeader: true } })]
    const forward = { 'x-vault-forward': 'active-node' }
    const inconsistent = { 'x-vault-inconsistent': 'forward-active-node' }
    expect(await read(node, 'sys/mounts', undefined, forward)).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'forwarding via header X-Vault-Forward disabled in configuration',
    })
    expect(await read(node, 'sys/mounts', undefined, inconsistent)).toEqual({
      code: 'CORE_INVALID_REQUEST',
      error: 'forwarding via header X-Vault-Inconsistent=forward-active-node disabled in configuration',
    })
    for (const headers of [forward, inconsistent])
      expect((await read(allowing, 'sys/mounts', undefined, headers)).status).toBe(200)
    expect((await read(node, 'sys/mounts', undefined, { 'x-vault-inconsistent': 'what-else' })).status).toBe(200)
  })
})

describe('over a replication set', () => {
  let primary: Node
  let a: Node
  let b: Node
  const store = holdable()

  beforeAll(async () => {
    ;({ primary, secondary: a } = await pair())
    b = await joined(primary, 'c', { store, core: soon })
    await write(b, 'sys/mounts/own', { type: 'kv', local: true })
    await write(b, 'own/x', { here: true })
  })
  afterEach(async () => {
    store.release()
    await inSync(primary, b, 'performance')
  })
  afterAll(closeAll)

  test('what is written through one secondary is read on every cluster', async () => {
    for (let n = 0; n < 20; n++) {
      const written = await write(a, 'kv/via-a', { n })
      expect(written).toMatchObject({ status: 204, warnings: null })
      for (const node of [primary, b, a]) {
        const answer = await read(node, 'kv/via-a', written.index)
        expect(answer.data).toEqual({ n })
        expect(shown(answer.index).replicated).toBeGreaterThanOrEqual(shown(written.index).replicated)
      }
    }
  })

  test('a mount and a policy made on the primary are there for whoever asks with the state', async () => {
    for (let n = 0; n < 10; n++) {
      const mounted = await write(primary, `sys/mounts/new-${n}`, { type: 'kv' })
      const policy = `path "new-${n}/*" { capabilities = ["read"] }`
      const ruled = await write(primary, `sys/policies/acl/p-${n}`, { policy })
      expect((await read(b, `new-${n}/x`, mounted.index)).error).toBe('')
      expect((await read(b, `sys/policies/acl/p-${n}`, ruled.index)).data).toMatchObject({ policy })
    }
  })

  test('a secondary that lags lets the primary answer, and says what that answer saw', async () => {
    await write(primary, 'kv/late', { n: 1 })
    await inSync(primary, b, 'performance')
    store.hold()
    const { index } = await write(primary, 'kv/late', { n: 2 })
    expect((await read(b, 'kv/late')).data).toEqual({ n: 1 })
    const answer = await read(b, 'kv/late', index)
    expect(answer.data).toEqual({ n: 2 })
    expect(shown(answer.index).cluster).not.toBe(shown(index).cluster)
    expect(shown(answer.index).replicated).toBeGreaterThanOrEqual(shown(index).replicated)
    // The state in that answer holds on the others, and still on this one.
    expect((await read(a, 'kv/late', answer.index)).data).toEqual({ n: 2 })
    expect((await read(b, 'kv/late', answer.index)).data).toEqual({ n: 2 })
    // Several states: all of them.
    expect((await read(b, 'kv/late', `${answer.index},${index}`)).data).toEqual({ n: 2 })
    store.release()
    await inSync(primary, b, 'performance')
    expect((await read(b, 'kv/late')).data).toEqual({ n: 2 })
  })

  test('an unknown mount is asked for too, a refusal by an old policy is none', async () => {
    store.hold()
    await write(primary, 'sys/mounts/fresh', { type: 'kv' })
    const { index } = await write(primary, 'fresh/x', { n: 1 })
    expect((await read(b, 'fresh/x')).error).toContain('no handler for route')
    expect((await read(b, 'fresh/x', index)).data).toEqual({ n: 1 })
    const nobody = { headers: { 'x-vault-index': index! }, token: 'hvs.unknown' }
    expect(await b.ask('read', 'kv/late', {}, nobody)).toEqual(MISSING)
  })

  test('a write with a state that is missing is made on the primary', async () => {
    store.hold()
    const { index } = await write(primary, 'kv/w', { n: 1 })
    const written = await write(b, 'kv/w', { n: 2 }, index)
    expect(written.warnings).toEqual([expect.stringContaining('Timeout hit while waiting')])
    expect((await read(b, 'kv/w', written.index)).data).toEqual({ n: 2 })
    expect((await read(primary, 'kv/w', written.index)).data).toEqual({ n: 2 })
  })

  test('what is local is never forwarded: 412', async () => {
    store.hold()
    const { index } = await write(primary, 'kv/l', { n: 1 })
    for (const path of ['own/x', 'cubbyhole/x', 'sys/mounts', 'auth/token/lookup-self', 'sys/mounts/own/tune']) {
      expect([path, await read(b, path, index)]).toEqual([path, MISSING])
    }
    expect(await write(b, 'sys/mounts/own2', { type: 'kv', local: true }, index)).toEqual(MISSING)
    expect((await read(b, 'own/x')).data).toEqual({ here: true })
  })

  test('what operators look at answers in any state', async () => {
    store.hold()
    const { index } = await write(primary, 'kv/o', { n: 1 })
    expect((await read(b, 'sys/replication/performance/status', index)).data).toMatchObject({ mode: 'secondary' })
  })

  test('the client may choose not to wait, and not to be forwarded', async () => {
    store.hold()
    const { index } = await write(primary, 'kv/c', { n: 1 })
    expect(await read(b, 'kv/c', index, { 'x-vault-inconsistent': 'fail' })).toEqual(MISSING)
    expect(await read(b, 'kv/c', index, { 'x-vault-inconsistent': 'await-state, fail' })).toEqual(MISSING)
    expect((await read(b, 'kv/c', index, { 'x-vault-inconsistent': 'await-state' })).data).toEqual({ n: 1 })
  })

  test('a state that comes in time is waited for, and answered from here', async () => {
    const patient = holdable()
    const c = await joined(primary, 'd', { store: patient, core: { walWaitMs: 60_000 } })
    patient.hold()
    const { index } = await write(primary, 'kv/t', { n: 1 })
    const asked = read(c, 'kv/t', index)
    expect(await Promise.race([asked, new Promise((resolve) => setTimeout(resolve, 100, 'waiting'))])).toBe('waiting')
    patient.release()
    expect((await asked).data).toEqual({ n: 1 })
  })

  test('a filter holds for reads that are forwarded', async () => {
    await write(primary, 'sys/mounts/eu', { type: 'kv' })
    await write(primary, 'eu/x', { withheld: true })
    expect(
      (
        await write(primary, 'sys/replication/performance/primary/paths-filter/c', {
          mode: 'deny',
          paths: ['eu/'],
        })
      ).error,
    ).toBeUndefined()
    await waitFor('the mount to go', async () => (await read(b, 'eu/x')).error?.includes('no handler') ?? false)
    store.hold()
    const { index } = await write(primary, 'eu/x', { withheld: 'still' })
    for (const path of [
      'eu/x',
      '/eu/x',
      'sys/mounts/eu',
      'sys/mounts/eu/tune',
      'sys/mounts//eu/tune',
      'sys/mounts/auth/../eu',
    ]) {
      const answer = await read(b, path, index)
      expect([path, answer.code]).toEqual([path, expect.stringMatching(/^CORE_(NOT_FOUND|INVALID_REQUEST)$/)])
      expect(JSON.stringify(answer)).not.toContain('still')
    }
    store.release()
    await primary.ask('delete', 'sys/replication/performance/primary/paths-filter/c')
  })
})

describe('when roles change', () => {
  afterEach(closeAll)

  test('a state of before a promotion is taken as there, one of after it is not there on a stale primary', async () => {
    const store = holdable()
    const { primary, secondary } = await pair({ store, core: soon })
    store.hold()
    const { index: lost } = await write(primary, 'kv/lost', { n: 1 })
    expect((await read(secondary, 'kv/lost', lost)).data).toEqual({ n: 1 })
    const unplugged = await primary.restart()
    nodes.push(unplugged)
    // Sealed, it answers nobody.
    expect(await read(secondary, 'kv/lost', lost)).toEqual(MISSING)
    store.release()
    expect(await secondary.change('sys/replication/performance/secondary/promote', { force: true })).toBe('changed')
    const answer = await read(secondary, 'kv/other', lost)
    expect(answer.error).toBe('')
    await unplugged.unseal()
    expect(await read(unplugged, 'kv/lost', answer.index)).toEqual(MISSING)
    expect((await read(unplugged, 'kv/lost', lost)).data).toEqual({ n: 1 })
  })

  test('without a link: what is there is read, what is missing is 412', async () => {
    const store = holdable()
    const { primary, secondary } = await pair({ store, core: soon })
    const { index: before } = await write(primary, 'kv/a', { n: 1 })
    expect((await read(secondary, 'kv/a', before)).data).toEqual({ n: 1 })
    store.hold()
    const { index: after } = await write(primary, 'kv/a', { n: 2 })
    await primary.close()
    expect(await read(secondary, 'kv/a', after)).toEqual(MISSING)
    expect((await read(secondary, 'kv/a', before)).data).toEqual({ n: 1 })
    expect(await write(secondary, 'kv/a', { n: 3 })).toMatchObject({
      code: 'CORE_UNAVAILABLE',
      error: expect.stringMatching(
        /^errors from both primary and secondary; primary error was .+; secondary errors follow: cannot write/,
      ),
    })
    store.release()
    // Restarted without a primary it still knows how far it was.
    const again = await secondary.restart()
    nodes.push(again)
    await again.unseal()
    expect((await read(again, 'kv/a', before)).data).toBeDefined()
  })

  test('a secondary that was told to forget its primary, a demoted primary, and one that left the set go on reading', async () => {
    const { primary, secondary } = await pair({ core: soon })
    const { index } = await write(primary, 'kv/a', { n: 1 })
    expect((await read(secondary, 'kv/a', index)).data).toEqual({ n: 1 })
    expect(await secondary.change('sys/replication/performance/secondary/update-primary', { token: '' })).toBe(
      'changed',
    )
    expect((await read(secondary, 'kv/a', index)).data).toEqual({ n: 1 })
    expect(await primary.change('sys/replication/performance/primary/demote')).toBe('changed')
    expect((await read(primary, 'kv/a', index)).data).toEqual({ n: 1 })
    expect(await secondary.change('sys/replication/performance/secondary/disable')).toBe('changed')
    expect((await read(secondary, 'kv/a', index)).data).toEqual({ n: 1 })
    // The cluster's own log begins anew when it joins again.
    const own = (await write(secondary, 'kv/own', { n: 1 })).index
    expect(await primary.change('sys/replication/performance/secondary/promote', { force: true })).toBe('changed')
    await link(primary, secondary, 'performance', 'again')
    await inSync(primary, secondary, 'performance')
    secondary.token = await generate(secondary, 'root')
    expect((await read(secondary, 'kv/a', own)).data).toEqual({ n: 1 })
  })
})
