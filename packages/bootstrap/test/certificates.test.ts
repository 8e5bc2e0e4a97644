import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { beforeAll, describe, expect, test } from 'vitest'
import type { IssuedCertificate, ReplicationCa } from '../src/index.ts'
import {
  activeNodeName,
  BootstrapError,
  createNodeCa,
  createReplicationCa,
  fingerprint,
  issueActiveNode,
  issuePrimaryServer,
  issueSecondary,
  issueStandby,
  primaryServerName,
  verifyPeer,
} from '../src/index.ts'

const DAY = 24 * 3_600_000
const clusterId = '3f2c1f0e-9a41-4c5e-8d0b-1f0d7b7c2a11'
const now = Date.now()

let ca: ReplicationCa
let other: ReplicationCa
let secondary: IssuedCertificate
let server: IssuedCertificate
beforeAll(async () => {
  ca = await createReplicationCa({ clusterId, now })
  other = await createReplicationCa({ clusterId, now })
  secondary = await issueSecondary(ca, { id: 'eu-west', now })
  server = await issuePrimaryServer(ca, { now })
})

function refusal(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(BootstrapError)
    return `${(error as BootstrapError).code} ${(error as Error).message}`
  }
  throw new Error('nothing was refused')
}

describe('certificates', () => {
  test('the CA is self-signed, named for the set and may sign end certificates only', () => {
    const certificate = new X509Certificate(ca.certificatePem)
    expect(certificate.subject).toBe(`CN=rep-ca-${clusterId}`)
    expect(certificate.issuer).toBe(certificate.subject)
    expect(certificate.ca).toBe(true)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.checkPrivateKey(createPrivateKey(ca.privateKeyPem))).toBe(true)
    // basicConstraints: critical, CA true, path length 0; keyUsage: critical, keyCertSign + cRLSign.
    expect(certificate.raw.toString('hex')).toContain('0603551d130101ff040830060101ff020100')
    expect(certificate.raw.toString('hex')).toContain('0603551d0f0101ff040403020106')
  })

  test('certificates of nodes are of a CA of their own, each for one end', async () => {
    const nodes = await createNodeCa({ id: clusterId, now })
    const [active, standby] = [
      await issueActiveNode(nodes, { term: 'term-1', now }),
      await issueStandby(nodes, { id: 'node-b', now }),
    ]
    const root = new X509Certificate(nodes.certificatePem)
    expect([root.subject, root.ca]).toEqual([`CN=node-ca-${clusterId}`, true])
    const [server, client] = [new X509Certificate(active.certificatePem), new X509Certificate(standby.certificatePem)]
    expect([server.subjectAltName, client.subjectAltName]).toEqual(['DNS:term-1.active.lockstep', 'DNS:node-b'])
    expect([server.keyUsage, client.keyUsage]).toEqual([['1.3.6.1.5.5.7.3.1'], ['1.3.6.1.5.5.7.3.2']])
    for (const certificate of [server, client]) {
      expect(certificate.ca).toBe(false)
      expect(certificate.verify(root.publicKey)).toBe(true)
      expect(certificate.verify(new X509Certificate(ca.certificatePem).publicKey)).toBe(false)
    }
    expect(() => activeNodeName('a.b/c')).toThrow(BootstrapError)
    await expect(issueStandby(nodes, { id: 'x'.repeat(64), now })).rejects.toThrow(BootstrapError)
  })

  test('a secondary certificate carries its id and clientAuth only', () => {
    const certificate = new X509Certificate(secondary.certificatePem)
    expect(certificate.subject).toBe('CN=eu-west')
    expect(certificate.subjectAltName).toBe('DNS:eu-west')
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
    expect(certificate.ca).toBe(false)
    expect(certificate.checkPrivateKey(createPrivateKey(secondary.privateKeyPem))).toBe(true)
    expect(secondary.fingerprint).toBe(certificate.fingerprint256.replaceAll(':', '').toLowerCase())
    expect(Date.parse(certificate.validTo)).toBe(secondary.notAfter)
    expect(Date.parse(certificate.validFrom)).toBe(secondary.notBefore)
  })

  test('the server certificate is named for the set, with serverAuth only', () => {
    const certificate = new X509Certificate(server.certificatePem)
    expect(certificate.subjectAltName).toBe(`DNS:${primaryServerName(clusterId)}`)
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
    expect(certificate.checkHost(`${clusterId}.replication.lockstep`)).toBeDefined()
    expect(certificate.checkHost('127.0.0.1')).toBeUndefined()
  })

  test('an end certificate never outlives its CA', async () => {
    const short = await createReplicationCa({ clusterId, now, lifetime: DAY })
    const issued = await issueSecondary(short, { id: 'a', now, lifetime: 90 * DAY })
    expect(issued.notAfter).toBe(short.notAfter)
    await expect(issueSecondary(short, { id: 'a', now: now + 2 * DAY })).rejects.toMatchObject({
      code: 'BOOTSTRAP_INVALID_LIFETIME',
    })
  })

  test.each(['', 'a b', 'a,CN=b', 'a\nCN=b', '-a', 'a-', 'a'.repeat(64), 'ü', 'a/b', '*'])(
    'refuses the id %j',
    async (id) => {
      await expect(issueSecondary(ca, { id, now })).rejects.toMatchObject({ code: 'BOOTSTRAP_INVALID_ID' })
    },
  )

  test('refuses impossible lifetimes and foreign keys', async () => {
    for (const lifetime of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(createReplicationCa({ clusterId, now, lifetime })).rejects.toMatchObject({
        code: 'BOOTSTRAP_INVALID_LIFETIME',
      })
    }
    await expect(issueSecondary({ ...ca, privateKeyPem: 'x' }, { id: 'a', now })).rejects.toMatchObject({
      code: 'BOOTSTRAP_INVALID_KEY',
    })
  })
})

describe('verifyPeer', () => {
  const policy = () => ({ ca: ca.certificatePem, allowed: ['ab'.repeat(32), secondary.fingerprint], now })

  test('names a listed peer, from PEM or DER', () => {
    const expected = { id: 'eu-west', fingerprint: secondary.fingerprint }
    expect(verifyPeer(secondary.certificatePem, policy())).toEqual(expected)
    expect(verifyPeer(new X509Certificate(secondary.certificatePem).raw, policy())).toEqual(expected)
    expect(fingerprint(new X509Certificate(secondary.certificatePem).raw)).toBe(secondary.fingerprint)
  })

  test('a fingerprint taken off the list is revoked', () => {
    expect(refusal(() => verifyPeer(secondary.certificatePem, { ...policy(), allowed: [] }))).toContain('revoked')
    const malformed = { ...policy(), allowed: ['zz', '', secondary.fingerprint.slice(2)] }
    expect(refusal(() => verifyPeer(secondary.certificatePem, malformed))).toContain('BOOTSTRAP_PEER_REFUSED')
  })

  test('refuses another CA of the same name, the CA itself, a wrong usage, wrong times and garbage', async () => {
    const foreign = await issueSecondary(other, { id: 'eu-west', now })
    const all = [foreign.fingerprint, ca.fingerprint, server.fingerprint, secondary.fingerprint]
    const open = { ...policy(), allowed: all }
    expect(refusal(() => verifyPeer(foreign.certificatePem, open))).toContain('not issued by')
    expect(refusal(() => verifyPeer(ca.certificatePem, open))).toContain('not issued by')
    expect(refusal(() => verifyPeer(server.certificatePem, open))).toContain('extended key usage')
    expect(refusal(() => verifyPeer(secondary.certificatePem, { ...open, usage: 'server' }))).toContain('extended key')
    expect(verifyPeer(server.certificatePem, { ...open, usage: 'server' }).id).toBe(primaryServerName(clusterId))
    expect(refusal(() => verifyPeer(secondary.certificatePem, { ...open, now: now - DAY }))).toContain('validity')
    expect(refusal(() => verifyPeer(secondary.certificatePem, { ...open, now: now + 40_000 * DAY }))).toContain(
      'validity',
    )
    expect(refusal(() => verifyPeer('nonsense', open))).toContain('BOOTSTRAP_INVALID_CERTIFICATE')
    expect(refusal(() => verifyPeer(new Uint8Array(70_000), open))).toContain('too large')
  })
})

test('mutual TLS 1.3: the dialer checks the set, not the address, and the server knows the secondary', async () => {
  const listener = createServer(
    {
      cert: server.certificatePem,
      key: server.privateKeyPem,
      ca: ca.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['replication_v1'],
    },
    (socket) =>
      socket.end(
        verifyPeer(socket.getPeerCertificate().raw, { ca: ca.certificatePem, allowed: [secondary.fingerprint], now })
          .id,
      ),
  )
  listener.on('tlsClientError', () => {})
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const dial = (options: { servername: string; client?: IssuedCertificate; trust?: string }): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = ''
      const socket: TLSSocket = connect({
        host: '127.0.0.1',
        port,
        servername: options.servername,
        ca: options.trust ?? ca.certificatePem,
        cert: options.client?.certificatePem,
        key: options.client?.privateKeyPem,
        ALPNProtocols: ['replication_v1'],
        minVersion: 'TLSv1.3',
      })
      socket.on('data', (chunk) => {
        text += chunk
      })
      socket.on('error', reject)
      socket.on('close', () => (text === '' ? reject(new Error('closed')) : resolve(text)))
    })
  try {
    const servername = primaryServerName(clusterId)
    expect(await dial({ servername, client: secondary })).toBe('eu-west')
    await expect(dial({ servername: primaryServerName('another'), client: secondary })).rejects.toThrow(/altnames/i)
    await expect(dial({ servername, client: secondary, trust: other.certificatePem })).rejects.toThrow()
    await expect(dial({ servername })).rejects.toThrow()
    await expect(dial({ servername, client: await issueSecondary(other, { id: 'eu-west', now }) })).rejects.toThrow()
  } finally {
    listener.close()
  }
})
