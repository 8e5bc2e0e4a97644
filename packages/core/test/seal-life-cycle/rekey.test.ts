// Other shares for a cluster: what they open, and what the former ones no longer do.
import { randomBytes } from 'node:crypto'
import { staticKeySeal } from '@lockstep/seal'
import { memoryLeaderLock, memoryStore, StorageError } from '@lockstep/storage'
import { decrypt, generateKey, readMessage } from 'openpgp'
import { afterEach, describe, expect, test } from 'vitest'
import { generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'
import { copyOf, faultyStore } from '../faulty-store.ts'
import { interceptedWrites } from '../intercepted-writes.ts'

const nodes: Node[] = []
const keep = (node: Node): Node => {
  nodes.push(node)
  return node
}
const started = async (options: NodeOptions = {}, shares = 3, threshold = 2): Promise<Node> => {
  const node = keep(await startNode(options))
  await node.init(shares, threshold)
  return node
}
const autoSeal = () => staticKeySeal({ keyId: 'k', key: randomBytes(32) })
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

type Target = 'barrier' | 'recovery'
interface Options {
  target?: Target
  params?: Record<string, unknown>
}

/** By the shares the node's operators hold; resolves with those they hold from now on. */
async function rekey(node: Node, { target = 'barrier', params }: Options = {}): Promise<string[]> {
  const wanted = { secret_shares: 2, secret_threshold: 2, ...params }
  const { nonce, required } = (await node.core.rekey(target, 'start', wanted))!
  let last: Record<string, unknown> | undefined
  for (const key of node.keys.slice(0, required as number)) {
    last = await node.core.rekey(target, 'update', { key, nonce })
  }
  expect(last).toMatchObject({ complete: true })
  return last!.keys as string[]
}

const isSealed = async (node: Node): Promise<boolean> => (await node.core.sealStatus()).sealed as boolean
const is = (node: Node, wanted: string) =>
  waitFor(`the state ${wanted}`, async () => (await node.core.health()).state === wanted)

describe('unseal keys', () => {
  test('the new shares unseal, the old ones no longer do', async () => {
    const node = await started()
    const old = node.keys
    const next = await rekey(node)
    expect(await node.core.sealStatus()).toMatchObject({ sealed: false, t: 2, n: 2 })
    const again = keep(await node.restart())
    await again.unseal(old.slice(0, 1))
    await expect(again.core.unseal({ key: old[1] })).rejects.toThrow('unseal failed, invalid key')
    await again.unseal(next)
    expect(await isSealed(again)).toBe(false)
    expect((await again.ask('read', 'auth/token/lookup-self')).data?.policies).toEqual(['root'])
    await expect(generate(again, 'root', old)).rejects.toThrow('root generation aborted')
    await again.core.generateRoot('root', 'cancel', {})
    expect(await generate(again, 'root', next)).toMatch(/^hvs\./)
  })

  test('sealing, or another role, ends an attempt', async () => {
    const node = await started()
    const { nonce } = (await node.core.rekey('barrier', 'start', { secret_shares: 1, secret_threshold: 1 }))!
    await node.core.rekey('barrier', 'update', { key: node.keys[0], nonce })
    await node.change('sys/replication/dr/primary/enable')
    expect(await node.core.rekey('barrier', 'status', {})).toMatchObject({ started: false, progress: 0 })
    await node.ask('update', 'sys/seal')
    await expect(node.core.rekey('barrier', 'status', {})).rejects.toMatchObject({ code: 'CORE_SEALED' })
  })

  test('init hands shares and root token out to PGP keys, whatever the kind of seal', async () => {
    const people = await Promise.all(
      ['a', 'b'].map((name) => generateKey({ userIDs: [{ name }], type: 'ecc', format: 'object' })),
    )
    const pgpKeys = people.map(({ publicKey }) => Buffer.from(publicKey.write()).toString('base64'))
    const open = async (index: number, base64: string): Promise<string> => {
      const message = await readMessage({ binaryMessage: Buffer.from(base64, 'base64') })
      return (await decrypt({ message, decryptionKeys: people[index]!.privateKey })).data as string
    }
    for (const auto of [false, true]) {
      const node = keep(await startNode(auto ? { autoSeal: autoSeal() } : {}))
      const [kind, field] = auto ? ['recovery', 'recovery_pgp_keys'] : ['secret', 'pgp_keys']
      const counts = { [`${kind}_shares`]: 2, [`${kind}_threshold`]: 2 }
      for (const [params, text] of [
        [{ [field]: pgpKeys.slice(1) }, `${field}: count mismatch`],
        [{ [field]: [pgpKeys[0], 'AAAA'] }, `${field}: it is not a PGP key`],
        [{ root_token_pgp_key: 'AAAA' }, 'root_token_pgp_key: it is not a PGP key'],
        [{ root_token_pgp_key: 1 }, 'root_token_pgp_key: expected'],
      ] as const) {
        await expect(node.core.initialize({ ...counts, ...params })).rejects.toThrow(text)
        expect(await node.core.initialized()).toBe(false)
      }
      const made = await node.core.initialize({ ...counts, [field]: pgpKeys, root_token_pgp_key: pgpKeys[1] })
      const encrypted = (auto ? made.recovery_keys_base64 : made.keys_base64) as string[]
      node.keys = await Promise.all(encrypted.map((base64, index) => open(index, base64)))
      node.token = await open(1, made.root_token as string)
      if (!auto) await node.unseal()
      expect((await node.ask('read', 'auth/token/lookup-self')).data?.policies).toEqual(['root'])
      expect(await generate(node, 'root')).toMatch(/^hvs\./)
    }
  })

  test('not with an auto seal, and no recovery key without one', async () => {
    const shamir = await started()
    await expect(shamir.core.rekey('recovery', 'status', {})).rejects.toThrow('recovery rekeying not supported')
    const auto = await started({ autoSeal: autoSeal() })
    await expect(auto.core.rekey('barrier', 'status', {})).rejects.toThrow('an auto seal has no unseal keys')
  })

  test('with a token where unauthenticated access was not enabled', async () => {
    const node = keep(await startNode({ core: { unauthenticatedAccess: [] } }))
    await node.init(1, 1)
    await expect(node.core.rekey('barrier', 'status', {})).rejects.toMatchObject({ code: 'CORE_PERMISSION_DENIED' })
    const caller = { token: node.token, path: 'sys/rekey/init', remoteAddress: '127.0.0.1' }
    expect(await node.core.rekey('barrier', 'status', {}, caller)).toMatchObject({ started: false })
  })

  test("OpenBao's paths do the same for a token that may", async () => {
    const node = await started({}, 1, 1)
    const begun = await node.ask('update', 'sys/rotate/root/init', {
      ...{ secret_shares: 1, secret_threshold: 1, require_verification: true },
    })
    expect(begun.data).toMatchObject({ started: true, verification_required: true })
    const { nonce } = begun.data!
    const { data: made } = await node.ask('update', 'sys/rotate/root/update', { key: node.keys[0], nonce })
    expect(made).toMatchObject({ complete: true, keys: [expect.any(String)] })
    expect((await node.ask('read', 'sys/rotate/root/verify')).data).toMatchObject({ started: true, progress: 0 })
    const [key] = made!.keys as string[]
    const verify = { key, nonce: made!.verification_nonce }
    expect((await node.ask('update', 'sys/rotate/root/verify', verify)).data).toMatchObject({ complete: true })
    const again = keep(await node.restart())
    await again.unseal([key!])
    expect(await isSealed(again)).toBe(false)
    expect(await again.ask('read', 'sys/rotate/root/init', {}, { token: 'none' })).toMatchObject({
      code: 'CORE_PERMISSION_DENIED',
    })
    expect(await again.ask('delete', 'sys/rotate/root/init')).toMatchObject({ status: 204 })
  })

  test('copies of encrypted shares are kept until they are deleted', async () => {
    const node = await started({}, 1, 1)
    expect(await node.ask('read', 'sys/rekey/backup')).toMatchObject({ error: 'no backed-up keys found' })
    const { publicKey } = await generateKey({ userIDs: [{ name: 'holder' }], type: 'ecc', format: 'object' })
    const pgp_keys = [Buffer.from(publicKey.write()).toString('base64')]
    const keys = await rekey(node, { params: { secret_shares: 1, secret_threshold: 1, pgp_keys, backup: true } })
    const { data } = await node.ask('read', 'sys/rekey/backup')
    const base64 = keys.map((key) => Buffer.from(key, 'hex').toString('base64'))
    expect(data).toEqual({
      nonce: expect.stringMatching(/./),
      keys: { [publicKey.getFingerprint()]: keys },
      keys_base64: { [publicKey.getFingerprint()]: base64 },
    })
    expect((await node.ask('read', 'sys/rotate/root/backup')).data).toEqual(data)
    expect(await node.ask('read', 'sys/rekey/recovery-key-backup')).toMatchObject({ error: 'no backed-up keys found' })
    expect(await node.ask('delete', 'sys/rekey/backup')).toMatchObject({ status: 204 })
    expect(await node.ask('read', 'sys/rekey/backup')).toMatchObject({ error: 'no backed-up keys found' })
  })
})

describe('recovery keys', () => {
  test('the new shares make tokens, the old ones no longer do, and the seal stays', async () => {
    const node = await started({ autoSeal: autoSeal() })
    const old = node.keys
    const next = await rekey(node, { target: 'recovery', params: { secret_shares: 3, secret_threshold: 3 } })
    expect(await node.core.sealStatus()).toMatchObject({ t: 3, n: 3, recovery_seal: true })
    const again = keep(await node.restart())
    expect(await isSealed(again)).toBe(false)
    await expect(generate(again, 'root', [...old])).rejects.toThrow('root generation aborted')
    await again.core.generateRoot('root', 'cancel', {})
    expect(await generate(again, 'root', next)).toMatch(/^hvs\./)
  })

  test('by verification', async () => {
    const node = await started({ autoSeal: autoSeal() }, 1, 1)
    const params = { secret_shares: 1, secret_threshold: 1, require_verification: true }
    const [key] = await rekey(node, { target: 'recovery', params })
    expect(await generate(node, 'root')).toMatch(/^hvs\./)
    const { nonce } = (await node.core.rekey('recovery', 'verify-status', {}))!
    expect(await node.core.rekey('recovery', 'verify', { key, nonce })).toMatchObject({ complete: true })
    await expect(generate(node, 'root')).rejects.toThrow('root generation aborted')
  })
})

test('power lost at any write: the old shares or the new ones are in force, never none', async () => {
  for (const auto of [false, true]) {
    const seal = auto ? { autoSeal: autoSeal() } : {}
    const prepared = await started(seal, 1, 1)
    await prepared.close()
    const seen: string[] = []
    for (let writes = 0; ; writes++) {
      const store = faultyStore(await copyOf(prepared.store))
      const node = keep(await startNode({ ...seal, store }))
      Object.assign(node, { token: prepared.token, keys: prepared.keys })
      await node.unseal()
      const target = auto ? 'recovery' : 'barrier'
      const params = { secret_shares: 1, secret_threshold: 1, require_verification: true }
      const [next] = await rekey(node, { target, params })
      store.failAfter(writes)
      const { nonce } = (await node.core.rekey(target, 'verify-status', {}))!
      const outcome = await node.core.rekey(target, 'verify', { key: next, nonce }).catch(() => undefined)
      const { tripped } = store
      await node.close()
      store.heal()
      const again = keep(await startNode({ ...seal, store }))
      const opens = async (key: string): Promise<boolean> => {
        await again.unseal([key]).catch(() => {})
        if (await isSealed(again)) return false
        return generate(again, 'root', [key]).then(
          () => true,
          () => again.core.generateRoot('root', 'cancel', {}).then(() => false),
        )
      }
      const [old, fresh] = [await opens(prepared.keys[0]!), await opens(next!)]
      expect([old, fresh].filter(Boolean), `after ${writes} writes`).toHaveLength(1)
      if (outcome !== undefined) expect(fresh).toBe(true)
      seen.push(fresh ? 'new' : 'old')
      await again.close()
      if (!tripped) break
    }
    expect(seen[0]).toBe('old')
    expect(seen.at(-1)).toBe('new')
  }
})

describe('nodes of one cluster', () => {
  test('a standby refuses; when it takes over it knows the new key and can rekey again', async () => {
    const [store, lock] = [memoryStore(), memoryLeaderLock()]
    const one = await started({ store, lock })
    await is(one, 'active')
    const two = keep(await startNode({ store, lock }))
    Object.assign(two, { token: one.token, keys: one.keys })
    await two.unseal()
    await is(two, 'standby')
    await expect(two.core.rekey('barrier', 'status', {})).rejects.toMatchObject({ code: 'CORE_STANDBY' })
    const old = one.keys
    const next = await rekey(one)
    lock.revoke()
    await is(two, 'active')
    await expect(generate(two, 'root', old)).rejects.toThrow('root generation aborted')
    await two.core.generateRoot('root', 'cancel', {})
    expect(await generate(two, 'root', next)).toMatch(/^hvs\./)
    two.keys = next
    const third = await rekey(two, { params: { secret_shares: 1, secret_threshold: 1 } })
    await is(one, 'standby')
    await one.ask('update', 'sys/seal').catch(() => {})
    const again = keep(await one.restart({ lock }))
    await again.unseal(third)
    expect(await isSealed(again)).toBe(false)
  })
})

describe('clusters that replicate', () => {
  test.each([
    ['performance', 'shamir', 'shamir'],
    ['performance', 'shamir', 'auto'],
    ['performance', 'auto', 'auto'],
    ['performance', 'auto', 'shamir'],
    ['dr', 'shamir', 'shamir'],
    ['dr', 'auto', 'shamir'],
  ] as const)(
    '%s, primary %s, secondary %s: after a rekey of the primary its shares are those of the secondary',
    async (kind, primarySeal, secondarySeal) => {
      const sealOf = (seal: string) => (seal === 'auto' ? { autoSeal: autoSeal() } : {})
      const primary = await started(sealOf(primarySeal))
      const secondary = await started(sealOf(secondarySeal), 1, 1)
      await primary.change(`sys/replication/${kind}/primary/enable`)
      await link(primary, secondary, kind, 'b')
      await inSync(primary, secondary, kind)
      const old = primary.keys
      const target = primarySeal === 'auto' ? 'recovery' : 'barrier'
      primary.keys = await rekey(primary, { target, params: { secret_shares: 4, secret_threshold: 3 } })
      await waitFor('the shares of the secondary', async () => (await secondary.core.sealStatus()).n === 4)
      const token = kind === 'dr' ? 'dr-operation' : 'root'
      await expect(generate(secondary, token, [...old])).rejects.toThrow('root generation aborted')
      await secondary.core.generateRoot(token, 'cancel', {})
      expect(await generate(secondary, token, primary.keys)).toMatch(/^hv[sr]\./)
      const again = keep(await secondary.restart())
      if (secondarySeal === 'shamir') {
        await again.unseal([...old]).catch(() => {})
        await again.core.unseal({ reset: true })
        expect(await isSealed(again)).toBe(true)
        await again.unseal(primary.keys.slice(1))
      }
      expect(await isSealed(again)).toBe(false)
      await inSync(primary, again, kind)
    },
  )

  test('a secondary that was sealed or away takes the new shares when it is back; it is opened by its former ones', async () => {
    const primary = await started()
    const secondary = await started({}, 1, 1)
    await primary.change('sys/replication/performance/primary/enable')
    await link(primary, secondary, 'performance', 'b')
    await inSync(primary, secondary, 'performance')
    await secondary.close()
    const old = primary.keys
    primary.keys = await rekey(primary)
    primary.keys = await rekey(primary, { params: { secret_shares: 5, secret_threshold: 3 } })
    const again = keep(await secondary.restart())
    await again.unseal(old)
    await waitFor('the shares of the secondary', async () => (await again.core.sealStatus()).n === 5)
    await again.close()
    const last = keep(await again.restart())
    await last.unseal(primary.keys)
    expect(await isSealed(last)).toBe(false)
  })

  test('power lost at any write of a secondary that follows: its former shares or the new ones open it, and then the new ones', async () => {
    const primary = await started({}, 1, 1)
    const secondary = await started({}, 1, 1)
    await primary.change('sys/replication/performance/primary/enable')
    await link(primary, secondary, 'performance', 'b')
    await inSync(primary, secondary, 'performance')
    await secondary.close()
    const old = primary.keys
    primary.keys = await rekey(primary)
    let crashes = 0
    for (let writes = 0; writes < 6; writes++) {
      const store = faultyStore(await copyOf(secondary.store))
      const node = keep(await startNode({ store }))
      await node.unseal(old)
      store.failAfter(writes)
      await waitFor('the crash or the new shares', async () => store.tripped || (await node.core.sealStatus()).n === 2)
      if (store.tripped) crashes++
      await node.close()
      store.heal()
      const again = keep(await startNode({ store }))
      if ((await again.core.sealStatus()).n === 1) await again.unseal(old)
      else await again.unseal(primary.keys)
      expect(await isSealed(again), `after ${writes} writes`).toBe(false)
      await waitFor('the new shares', async () => (await again.core.sealStatus()).n === 2)
      expect(await generate(again, 'root', primary.keys)).toMatch(/^hvs\./)
      await again.close()
    }
    expect(crashes).toBeGreaterThan(0)
  })

  test('what secondaries are told is the key in force, also where it was never told', async () => {
    const { store, keys } = await started({}, 2, 2)
    await nodes.at(-1)!.close()
    // As a storage that was initialized by an earlier version has it.
    for await (const [key] of store.scan()) if (key.endsWith('core/operator-key')) await store.delete(key)
    const primary = keep(await startNode({ store }))
    Object.assign(primary, { keys, token: nodes[0]!.token })
    await primary.unseal()
    await waitFor('the record', async () => {
      for await (const [key] of store.scan()) if (key.endsWith('core/operator-key')) return true
      return false
    })
    await primary.change('sys/replication/dr/primary/enable')
    const secondary = await started({}, 1, 1)
    await link(primary, secondary, 'dr', 'b')
    await inSync(primary, secondary, 'dr')
    expect(await generate(secondary, 'dr-operation', keys)).toMatch(/^hvr\./)
  })

  test('a secondary is not rekeyed itself; promoted it is', async () => {
    const primary = await started({}, 1, 1)
    const performance = await started({}, 1, 1)
    const dr = await started({}, 1, 1)
    await primary.change('sys/replication/performance/primary/enable')
    await primary.change('sys/replication/dr/primary/enable')
    await link(primary, performance, 'performance', 'p')
    await link(primary, dr, 'dr', 'd')
    const text = 'rekeying can only be performed on the primary cluster when replication is activated'
    await expect(performance.core.rekey('barrier', 'status', {})).rejects.toThrow(text)
    await expect(performance.core.rekey('barrier', 'update', { key: 'ab' })).rejects.toThrow(text)
    await expect(dr.core.rekey('barrier', 'status', {})).rejects.toThrow('path disabled in replication DR secondary')
    await inSync(primary, dr, 'dr')
    const token = await generate(dr, 'dr-operation')
    await dr.change('sys/replication/dr/secondary/promote', { dr_operation_token: token })
    const next = await rekey(dr)
    const again = keep(await dr.restart())
    await again.unseal(next)
    expect(await isSealed(again)).toBe(false)
  })
})

test("a standby that takes over leads only once it has read the operators' key of today", async () => {
  const [inner, lock] = [memoryStore(), memoryLeaderLock()]
  const one = await started({ store: inner, lock }, 1, 1)
  await is(one, 'active')
  let failures = 0
  const store = {
    ...interceptedWrites(inner, (body) => body()),
    async get(key: string) {
      if (key.endsWith('/core/operator-key') && failures++ === 0) {
        throw new StorageError('STORAGE_UNAVAILABLE', 'the connection was cut')
      }
      return inner.get(key)
    },
  }
  const two = keep(await startNode({ store, lock }))
  await two.unseal(one.keys)
  const keys = await rekey(one, { params: { secret_shares: 1, secret_threshold: 1 } })
  const told = await inner.get('g0/core/operator-key')
  await one.close()
  await is(two, 'active')
  expect(failures).toBeGreaterThan(0)
  // Services look after it once they run.
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(await inner.get('g0/core/operator-key')).toEqual(told)
  expect(await generate(two, 'root', keys)).toMatch(/^hvs\./)
})
