// Every way in which a dial can fail, provoked with real sockets, and the step at which the probe says it does.
import { createServer, type Server, type Socket } from 'node:net'
import tls from 'node:tls'
import {
  createReplicationCa,
  fingerprint,
  issuePrimaryServer,
  issueSecondary,
  primaryServerName,
  type ReplicationCa,
} from '@lockstep/bootstrap'
import { ALPN, type ClusterListener, clusterListener } from '@lockstep/replication-transport'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ProbeTarget, probeLink } from '../../src/replication/diagnostics/link-probe.ts'

const YEAR = 365 * 24 * 3_600_000
const CLUSTER = '6f1f0d52-0000-4000-8000-000000000001'
const closing: (() => void)[] = []
let ca: ReplicationCa
let base: Omit<ProbeTarget, 'address'>

beforeAll(async () => {
  ca = await createReplicationCa({ clusterId: CLUSTER, now: Date.now() })
  base = { servername: primaryServerName(CLUSTER), alpn: ALPN.performance, ca: ca.certificatePem, timeoutMs: 10_000 }
})
afterAll(() => {
  for (const close of closing) close()
})

async function listening(server: Server): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  server.on('tlsClientError', () => {})
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

const tlsServer = async (by: ReplicationCa, options: tls.TlsOptions & { now?: number; lifetime?: number } = {}) => {
  const { now = Date.now(), lifetime, ...rest } = options
  const { certificatePem: cert, privateKeyPem: key } = await issuePrimaryServer(by, {
    now,
    ...(lifetime === undefined ? {} : { lifetime }),
  })
  return listening(tls.createServer({ cert, key, ALPNProtocols: [base.alpn], ...rest }))
}

async function cluster(authorize: 'known' | 'revoked'): Promise<{ listener: ClusterListener; address: string }> {
  const listener = await clusterListener({ host: '127.0.0.1', port: 0 })
  closing.push(() => void listener.close())
  const { certificatePem: cert, privateKeyPem: key } = await issuePrimaryServer(ca, { now: Date.now() })
  listener.register({
    ...{ alpn: base.alpn, servername: base.servername, cert, key, ca: ca.certificatePem },
    authorize: (certificate) =>
      authorize === 'known' ? { id: fingerprint(certificate).slice(0, 8) } : { refused: 'it was revoked' },
    onLink: (link) => link.close(),
  })
  return { listener, address: `127.0.0.1:${listener.address.port}` }
}

async function client(by = ca) {
  const { certificatePem: cert, privateKeyPem: key } = await issueSecondary(by, { id: 'eu', now: Date.now() })
  return { cert, key }
}

const failing = async (address: string, failed: string, cause: string, more: Partial<ProbeTarget> = {}) =>
  expect(await probeLink({ ...base, ...more, address })).toMatchObject({ failed, cause })

test('a listener that takes the certificate passes every step', async () => {
  const { address } = await cluster('known')
  expect(await probeLink({ ...base, address: `https://${address}`, client: await client() })).toMatchObject({
    failed: '',
    passed: ['address', 'dns', 'tcp', 'tls', 'certificate', 'alpn', 'admission'],
  })
})

test('without a client certificate no link comes about', async () => {
  const { listener, address } = await cluster('known')
  let links = 0
  listener.register({
    ...{ alpn: base.alpn, servername: 'other', cert: ca.certificatePem, key: ca.privateKeyPem, ca: ca.certificatePem },
    authorize: () => ({ id: 'x' }),
    onLink: () => {
      links++
    },
  })
  expect((await probeLink({ ...base, address })).passed.at(-1)).toBe('alpn')
  expect(links).toBe(0)
})

test('addresses that cannot be dialled', async () => {
  await failing('not an address', 'address', 'malformed_address')
  await failing('no-such-host.invalid:8201', 'dns', 'name_not_found')
  const closed = createServer()
  const address = await listening(closed)
  await new Promise((resolve) => closed.close(resolve))
  await failing(address, 'tcp', 'refused')
})

test('listeners that are not what they should be', async () => {
  await failing(
    await listening(createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))),
    'tls',
    'not_tls',
  )
  await failing(await listening(createServer((socket) => socket.destroy())), 'tls', 'reset')
  await failing(await listening(createServer(() => {})), 'tls', 'timeout', { timeoutMs: 50 })
  await failing(await tlsServer(ca, { maxVersion: 'TLSv1.2' }), 'tls', 'tls_version')
  await failing(await tlsServer(ca, { ALPNProtocols: ['http/1.1'] }), 'tls', 'alpn')
  await failing(await tlsServer(ca, { ALPNProtocols: undefined }), 'alpn', 'alpn')
  const { address } = await cluster('known')
  await failing(address, 'tls', 'alpn', { servername: primaryServerName('6f1f0d52-0000-4000-8000-000000000002') })
  await failing(address, 'tls', 'alpn', { alpn: ALPN.dr })
})

test('certificates that do not hold', async () => {
  const foreign = await createReplicationCa({ clusterId: CLUSTER, now: Date.now() })
  await failing(await tlsServer(foreign), 'certificate', 'foreign_authority')
  const old = await createReplicationCa({ clusterId: CLUSTER, now: Date.now() - 3 * YEAR })
  const expired = await tlsServer(old, { now: Date.now() - 2 * YEAR, lifetime: YEAR })
  await failing(expired, 'certificate', 'expired', { ca: old.certificatePem })
  const early = await tlsServer(ca, { now: Date.now() + YEAR })
  await failing(early, 'certificate', 'not_yet_valid')
  const other = await createReplicationCa({ clusterId: '6f1f0d52-0000-4000-8000-000000000003', now: Date.now() })
  await failing(await tlsServer(other), 'certificate', 'wrong_name', { ca: other.certificatePem })
})

test('a certificate the listener does not take', async () => {
  const revoked = await cluster('revoked')
  await failing(revoked.address, 'admission', 'revoked', { client: await client() })
  const known = await cluster('known')
  const foreign = await createReplicationCa({ clusterId: CLUSTER, now: Date.now() })
  await failing(known.address, 'admission', 'not_authenticated', { client: await client(foreign) })
})
