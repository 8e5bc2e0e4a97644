// Each thing that goes wrong between two clusters, made to go wrong, and what the diagnosis calls it.
import tls from 'node:tls'
import { createReplicationCa, issuePrimaryServer } from '@lockstep/bootstrap'
import { ALPN } from '@lockstep/replication-transport'
import { memoryLeaderLock, memoryStore, type Store, type Transaction } from '@lockstep/storage'
import { afterEach, expect, test } from 'vitest'
import { type Check, type Diagnosis, diagnosis } from '../../src/replication/diagnostics/diagnostics.ts'
import { certificateCheck } from '../../src/replication/diagnostics/link-checks.ts'
import { logCheck } from '../../src/replication/diagnostics/log-check.ts'
import { nodesCheck } from '../../src/replication/diagnostics/nodes-check.ts'
import { versionCheck } from '../../src/replication/diagnostics/refusal-checks.ts'
import { repairCheck } from '../../src/replication/diagnostics/repair-check.ts'
import { storageCheck } from '../../src/replication/diagnostics/storage-check.ts'
import { activationToken, generate, inSync, link, type Node, type NodeOptions, startNode, waitFor } from '../cluster.ts'

const nodes: Node[] = []
const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  await Promise.all(nodes.splice(0).map((node) => node.close()))
})

async function started(options: NodeOptions = {}): Promise<Node> {
  const node = await startNode(options)
  nodes.push(node)
  await node.init()
  return node
}

async function pair(options: { primary?: NodeOptions; secondary?: NodeOptions } = {}) {
  const primary = await started(options.primary)
  await primary.change('sys/replication/performance/primary/enable')
  const secondary = await started(options.secondary)
  await link(primary, secondary, 'performance', 'eu')
  await inSync(primary, secondary, 'performance')
  secondary.token = await generate(secondary, 'root')
  return { primary, secondary }
}

async function diagnose(node: Node): Promise<Diagnosis> {
  const { data, error } = await node.ask('read', 'sys/replication/diagnostics')
  if (error !== undefined) throw new Error(error)
  return data as unknown as Diagnosis
}

/** Waits until a check with this cause is found. */
const found = (node: Node, check: string, cause: string): Promise<Check> =>
  waitFor(`${check}: ${cause}`, async () => {
    const { checks } = await diagnose(node)
    return checks.find((item) => item.check === check && item.cause === cause)
  })

test('two healthy ends: every check is there and ok, also on a DR secondary, by its operation token', async () => {
  const { primary, secondary } = await pair()
  for (const node of [primary, secondary]) {
    // The primary may not have heard yet that the first sync is over.
    const answer = await waitFor('a clean bill', async () => {
      const found = await diagnose(node)
      return found.checks.every(({ status }) => status === 'ok') && found
    })
    expect(answer).toMatchObject({ status: 'ok', exit_status: 0 })
    const names = new Set(answer.checks.map(({ check }) => check))
    for (const name of ['role', 'certificate', 'clock', 'log', 'storage', 'lag', 'epoch', 'nodes']) {
      expect(names, name).toContain(name)
    }
  }
  expect((await diagnose(secondary)).checks).toContainEqual(
    expect.objectContaining({ check: 'address', status: 'ok', subject: expect.stringContaining('127.0.0.1') }),
  )
  expect((await diagnose(primary)).checks).toContainEqual(
    expect.objectContaining({ check: 'filter', subject: 'eu', detail: 'nothing is withheld' }),
  )
  // Probing has not disturbed the link.
  expect(secondary.logged.filter((line) => line.includes('replication link to the primary ended'))).toEqual([])

  await primary.change('sys/replication/dr/primary/enable')
  const dr = await started()
  await link(primary, dr, 'dr', 'dr')
  await inSync(primary, dr, 'dr')
  const path = 'sys/replication/dr/secondary/diagnostics'
  expect((await dr.ask('update', path)).error).toContain('dr_operation_token')
  expect(await dr.ask('read', 'sys/replication/diagnostics')).toMatchObject({ code: 'CORE_INVALID_REQUEST' })
  const token = await generate(dr, 'dr-operation')
  await waitFor('a clean bill', async () => {
    const { data } = await dr.ask('update', path, { dr_operation_token: token })
    return data?.status === 'ok' && data.exit_status === 0
  })
})

test('without replication nothing is wrong', async () => {
  const node = await started()
  expect(await diagnose(node)).toMatchObject({ status: 'ok', exit_status: 0 })
  expect(await node.ask('read', 'sys/replication/diagnostics', {}, { token: '' })).toMatchObject({
    code: 'CORE_PERMISSION_DENIED',
  })
})

test('a primary that is gone: refused, then a stranger with a foreign certificate at its address', async () => {
  const { primary, secondary } = await pair()
  const address = String(((await secondary.status('performance')).known_primary_cluster_addrs as string[])[0])
  await primary.close()
  const refused = await found(secondary, 'address', 'refused')
  expect(refused).toMatchObject({ status: 'critical', kind: 'performance', subject: address })
  expect(refused.detail).toContain('step tcp (after address, dns)')
  expect(refused.remedy).toContain('8201')
  expect(await found(secondary, 'lag', 'disconnected')).toMatchObject({ status: 'critical' })
  expect((await diagnose(secondary)).exit_status).toBe(2)

  const ca = await createReplicationCa({ clusterId: '6f1f0d52-0000-4000-8000-000000000001', now: Date.now() })
  const { certificatePem: cert, privateKeyPem: key } = await issuePrimaryServer(ca, { now: Date.now() })
  const stranger = tls.createServer({ cert, key, ALPNProtocols: [ALPN.performance] }, (socket) => {
    socket.on('error', () => {})
  })
  stranger.on('tlsClientError', () => {})
  const port = Number(new URL(address.startsWith('https') ? address : `https://${address}`).port)
  await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve))
  closing.push(() => void stranger.close())
  expect(await found(secondary, 'certificate', 'foreign_authority')).toMatchObject({ status: 'critical' })
})

test('a revoked secondary, and a primary that is none any more', async () => {
  const { primary, secondary } = await pair()
  await primary.ask('update', 'sys/replication/performance/primary/revoke-secondary', { id: 'eu' })
  const revoked = await found(secondary, 'certificate', 'revoked')
  expect(revoked).toMatchObject({ status: 'critical' })
  expect(revoked.remedy).toContain('new activation token')
  await primary.change('sys/replication/performance/primary/disable')
  expect(await found(secondary, 'protocol', 'alpn')).toMatchObject({ status: 'critical' })
})

test('at the primary: a secondary that is not there', async () => {
  const { primary, secondary } = await pair()
  await secondary.close()
  expect(await found(primary, 'lag', 'disconnected')).toMatchObject({ subject: 'eu', status: 'critical' })
  await activationToken(primary, 'performance', 'never')
  expect((await diagnose(primary)).checks).toContainEqual(
    expect.objectContaining({ check: 'lag', subject: 'never', detail: expect.stringContaining('never') }),
  )
})

test.each([
  [8_000, 'warning'],
  [70_000, 'critical'],
])('clocks %d ms apart', async (ahead, status) => {
  const { primary, secondary } = await pair({ secondary: { clock: { now: () => Date.now() + ahead } } })
  expect(await found(secondary, 'clock', 'skew')).toMatchObject({ status, subject: 'primary' })
  const seen = await found(primary, 'clock', 'skew')
  expect(seen).toMatchObject({ status, subject: 'eu', detail: expect.stringContaining('ahead') })
})

test('a stale primary', async () => {
  const { primary, secondary } = await pair()
  await secondary.change('sys/replication/performance/secondary/promote', { force: true })
  await secondary.change('sys/replication/performance/primary/demote')
  const token = await activationToken(primary, 'performance', 'again')
  await secondary.change('sys/replication/performance/secondary/update-primary', { token })
  const fenced = await found(secondary, 'epoch', 'fenced')
  expect(fenced).toMatchObject({ status: 'critical', detail: expect.stringContaining('epoch') })
})

test('a secondary that dials nobody', async () => {
  const { secondary } = await pair()
  await secondary.change('sys/replication/performance/secondary/update-primary', { token: '' })
  expect(await found(secondary, 'lag', 'detached')).toMatchObject({ status: 'warning' })
  expect((await diagnose(secondary)).exit_status).toBe(1)
})

test('a log that nears its cap because of a secondary', async () => {
  const { primary, secondary } = await pair({ primary: { logBytes: 64 * 1024 } })
  await primary.ask('update', 'sys/mounts/kv', { type: 'kv' })
  await secondary.close()
  for (let n = 0; n < 40; n++) await primary.ask('update', `kv/${n}`, { filling: 'x'.repeat(1000) })
  const near = await waitFor('a warning of the log', async () => {
    const { checks } = await diagnose(primary)
    const check = checks.find((item) => item.check === 'log' && item.status !== 'ok')
    if (check === undefined) await primary.ask('update', 'kv/more', { filling: 'x'.repeat(1000) })
    return check
  })
  expect(near.cause).toMatch(/^cap_/)
  expect(near.detail).toContain('of 65536 bytes')
})

test('a storage that stalls, is slow, or refuses', async () => {
  let ahead = 0
  let onCanary: () => Promise<void> = async () => {}
  const store = touchy(memoryStore(), 'core/replication/canary', () => onCanary())
  const node = await started({ store, clock: { now: () => Date.now() + ahead } })
  onCanary = async () => {
    ahead += 800
  }
  await node.change('sys/replication/performance/primary/enable')
  expect(await found(node, 'storage', 'slow')).toMatchObject({ status: 'warning' })

  onCanary = () => Promise.reject(new Error('no space left'))
  await node.change('sys/replication/dr/primary/enable')
  const refused = await found(node, 'storage', 'refused')
  expect(refused).toMatchObject({ status: 'critical', detail: expect.stringContaining('no space left') })

  let release: () => void = () => {}
  const stalled = new Promise<void>((resolve) => {
    release = resolve
  })
  closing.push(() => release())
  onCanary = () => stalled
  await node.change('sys/replication/dr/primary/disable')
  ahead += 20_000
  expect(await found(node, 'storage', 'stalled')).toMatchObject({ status: 'warning' })
  ahead += 60_000
  await waitFor('a critical stall', async () => (await diagnose(node)).exit_status === 2)
  release()
})

/** Calls `touched` before a commit that writes a key with `part` in its name. */
function touchy(inner: Store, part: string, touched: () => Promise<void>): Store {
  return {
    get: (key) => inner.get(key),
    getMany: (keys) => inner.getMany(keys),
    list: (prefix, options) => inner.list(prefix, options),
    scan: (range) => inner.scan(range),
    async put(key, value) {
      if (key.includes(part)) await touched()
      return inner.put(key, value)
    },
    delete: (key) => inner.delete(key),
    async begin() {
      const transaction = await inner.begin()
      let touches = false
      const watched: Transaction = {
        get: (key) => transaction.get(key),
        getMany: (keys) => transaction.getMany(keys),
        list: (prefix, options) => transaction.list(prefix, options),
        scan: (range) => transaction.scan(range),
        put(key, value) {
          touches ||= key.includes(part)
          return transaction.put(key, value)
        },
        delete: (key) => transaction.delete(key),
        async commit() {
          if (touches) await touched()
          return transaction.commit()
        },
        abort: () => transaction.abort(),
      }
      return watched
    },
    close: () => inner.close(),
  }
}

test('another node of the cluster that is sealed', async () => {
  const [store, lock] = [memoryStore(), memoryLeaderLock()]
  const one = await started({ store, lock })
  await waitFor('the lead', async () => (await one.core.health()).state === 'active')
  const two = await startNode({ store, lock })
  nodes.push(two)
  const sealed = await found(one, 'nodes', 'sealed')
  expect(sealed).toMatchObject({ status: 'warning', subject: expect.stringContaining('http') })
  await two.close()
  await waitFor('its going', async () =>
    (await diagnose(one)).checks.every(({ check, status }) => check !== 'nodes' || status === 'ok'),
  )
})

test('what cannot be waited for: expiry, cap, faults, versions, sealed nodes', () => {
  const day = 24 * 3_600_000
  const now = Date.parse('2026-06-01')
  const period = { from: now - day, to: now + 400 * day }
  expect(certificateCheck('dr', 'own', period, now).status).toBe('ok')
  expect(certificateCheck('dr', 'own', period, now + 390 * day)).toMatchObject({ cause: 'expires_soon' })
  expect(certificateCheck('dr', 'own', period, now + 401 * day)).toMatchObject({ cause: 'expired', status: 'critical' })
  expect(certificateCheck('dr', 'own', period, now - 2 * day)).toMatchObject({ cause: 'not_yet_valid' })
  const behind = { consumer: 'dr/a', index: 40, ageMs: 100 }
  const log = { bytes: 10, caps: { bytes: 100, ageMs: 1000 }, head: 50, oldest: 10, consumers: [behind] }
  expect(logCheck(log).status).toBe('ok')
  expect(logCheck({ ...log, bytes: 80 })).toMatchObject({ status: 'warning', cause: 'cap_near' })
  expect(logCheck({ ...log, bytes: 80 }).detail).toContain('dr/a at 40')
  expect(logCheck({ ...log, bytes: 96 })).toMatchObject({ status: 'critical' })
  expect(logCheck({ ...log, consumers: [{ ...behind, ageMs: 800 }] })).toMatchObject({ cause: 'age_near' })
  expect(logCheck({ ...log, consumers: [{ ...behind, ageMs: 960 }] })).toMatchObject({ status: 'critical' })
  expect(logCheck({ ...log, consumers: [{ ...behind, index: 5 }] })).toMatchObject({ cause: 'cap_passed' })
  const repair = { guardFailures: 0, streamFaults: 0, rounds: 1, reason: 'new', lastRepair: '' }
  expect(repairCheck('dr', repair).status).toBe('ok')
  expect(repairCheck('dr', { ...repair, streamFaults: 1 })).toMatchObject({ status: 'warning', cause: 'repaired' })
  expect(repairCheck('dr', { ...repair, guardFailures: 2 })).toMatchObject({ cause: 'repeated_repair' })
  expect(versionCheck('dr', 'the primary refused (version): the primary speaks protocol 3 to 3')).toMatchObject({
    check: 'protocol',
    cause: 'version',
  })
  expect(versionCheck('dr', '127.0.0.1:8201: ECONNREFUSED')).toBeUndefined()
  expect(nodesCheck([{ name: 'b', state: 'sealed', seenAt: 1 }])).toMatchObject([{ cause: 'sealed', subject: 'b' }])
  expect(storageCheck({ writtenAt: now, writeMs: 6_000, waitingSince: 0, error: '' }, now)).toMatchObject({
    status: 'critical',
  })
  expect(diagnosis([], now)).toMatchObject({ status: 'ok', exit_status: 0, time: '2026-06-01T00:00:00.000Z' })
})
