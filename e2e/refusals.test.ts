// Whatever is wrong with an activation: a clear error, and the would-be secondary keeps its own data.
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { type Cluster, linkSecondary, replicationStatus, waitFor } from '@lockstep/dev-env'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { scratch } from './scratch.ts'

const files = scratch()
let primary: Cluster
let other: Cluster
let victim: Cluster

const enablePrimary = async (cluster: Cluster, kind: 'performance' | 'dr'): Promise<void> => {
  await cluster.client.write(`sys/replication/${kind}/primary/enable`)
  await waitFor('the primary role', async () => (await replicationStatus(cluster, kind))?.mode === 'primary')
}
const issue = async (cluster: Cluster, id: string, input: object = {}, kind = 'performance'): Promise<string> => {
  const reply = await cluster.client.write(`sys/replication/${kind}/primary/secondary-token`, { id, ...input })
  return reply.body.wrap_info.token
}
const activate = (token: unknown, input: object = {}, kind = 'performance') =>
  victim.client.call('PUT', `sys/replication/${kind}/secondary/enable`, { token, ...input })

beforeAll(async () => {
  primary = await files.cluster('primary')
  other = await files.cluster('other')
  victim = await files.cluster('victim')
  await enablePrimary(primary, 'performance')
  await enablePrimary(primary, 'dr')
  await enablePrimary(other, 'performance')
  await victim.client.write('sys/mounts/own', { type: 'kv' })
  await victim.client.write('own/data', { precious: 'yes' })
})

/** After each refusal: nothing of the victim's own was touched. */
async function untouched(): Promise<void> {
  expect((await victim.client.read('own/data')).body.data).toEqual({ precious: 'yes' })
  expect((await replicationStatus(victim, 'performance')).mode).toBe('disabled')
  expect((await replicationStatus(victim, 'dr')).mode).toBe('disabled')
}

function forge(
  token: string,
  change: { claims?: object; header?: object; signature?: (input: string) => Buffer },
): string {
  const [head, body, signature] = token.split('.') as [string, string, string]
  const encode = (part: string, extra: object = {}): string =>
    Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(part, 'base64url').toString()), ...extra })).toString(
      'base64url',
    )
  const input = `${encode(head, change.header)}.${encode(body, change.claims)}`
  return `${input}.${change.signature?.(input).toString('base64url') ?? signature}`
}

describe('an activation token', () => {
  let n = 0
  let token: string
  beforeEach(async () => {
    token = await issue(primary, `victim-${n++}`)
  })

  test('that was unwrapped before is spent', async () => {
    await primary.client.write('sys/wrapping/unwrap', {}, { token })
    const reply = await activate(token)
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toContain('wrapping token is not valid or does not exist')
    await untouched()
  })

  test('that has expired', async () => {
    const short = await issue(primary, `victim-short-${n}`, { ttl: '1s' })
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const reply = await activate(short)
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toMatch(/expired/)
    await untouched()
  })

  test('of a secondary that was revoked meanwhile', async () => {
    await primary.client.write('sys/replication/performance/primary/revoke-secondary', { id: `victim-${n - 1}` })
    const reply = await activate(token)
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toMatch(/error fetching secondary bootstrap package: .*(unknown|revoked)/)
    await untouched()
  })

  test('signed by somebody else', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp521r1' })
    const forged = forge(token, {
      signature: (input) => sign('sha512', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }),
    })
    const reply = await activate(forged)
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toContain('error response unwrapping secondary token; status code is 400')
    await untouched()
    // The genuine one is not spent by that.
    expect((await primary.client.call('PUT', 'sys/wrapping/lookup', { token })).status).toBe(200)
  })

  test('with changed claims, without a signature, or with another algorithm', async () => {
    for (const bad of [
      forge(token, { claims: { exp: 4102444800 } }),
      forge(token, { header: { alg: 'none' }, signature: () => Buffer.alloc(0) }),
      forge(token, { header: { alg: 'HS512' } }),
    ]) {
      const reply = await activate(bad)
      expect(reply.status).toBe(400)
      expect(reply.body.errors[0]).toMatch(/token/)
    }
    await untouched()
  })

  test('that is no token at all', async () => {
    for (const bad of ['', 'nonsense', 'a.b.c', 42, { nested: true }]) {
      const reply = await activate(bad)
      expect(reply.status, JSON.stringify(bad)).toBe(400)
      expect(reply.body.errors[0], JSON.stringify(bad)).toMatch(/token/)
    }
    await untouched()
  })

  test('of the other kind of replication', async () => {
    const reply = await activate(await issue(primary, `dr-${n}`, {}, 'dr'))
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toContain('it activates a dr secondary')
    await untouched()
  })

  test('whose primary cannot be reached', async () => {
    const reply = await activate(token, { primary_api_addr: 'http://127.0.0.1:1' })
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toMatch(/error unwrapping secondary token: .*ECONNREFUSED/)
    await untouched()
  })

  test('with a ca_file that is not there', async () => {
    const reply = await activate(token, { primary_api_addr: 'https://127.0.0.1:1', ca_file: '/nowhere/ca.pem' })
    expect(reply.status).toBe(400)
    expect(reply.body.errors[0]).toContain('ca_file')
    await untouched()
  })
})

describe('the cluster port', () => {
  interface Package {
    clusterId: string
    caCertificate: string
    clientCertificate: string
    clientKey: string
  }
  let genuine: Package
  let foreign: Package

  beforeAll(async () => {
    const unwrap = async (cluster: Cluster, id: string): Promise<Package> =>
      (await cluster.client.write('sys/wrapping/unwrap', {}, { token: await issue(cluster, id) })).body.data
    genuine = await unwrap(primary, 'port')
    foreign = await unwrap(other, 'port')
  })

  /** Why the connection came to nothing, or `accepted`. */
  function dial(credentials: Partial<Package>, alpn: string, options: object = {}): Promise<string> {
    const { hostname, port } = new URL(primary.clusterAddress)
    return new Promise((resolve) => {
      const socket: TLSSocket = connect({
        host: hostname,
        port: Number(port),
        servername: `${genuine.clusterId}.replication.lockstep`,
        ALPNProtocols: [alpn],
        ca: genuine.caCertificate,
        cert: credentials.clientCertificate,
        key: credentials.clientKey,
        ...options,
      })
      const chunks: Buffer[] = []
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        // Whoever is accepted is sent a frame that says so; a refusal comes as a frame too, before the end.
        setTimeout(() => socket.destroy(), 200)
      })
      socket.on('error', (error) => resolve(`error: ${error.message}`))
      socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
    })
  }

  test('the genuine certificate is let in', async () => {
    expect(await dial(genuine, 'replication_v1')).not.toMatch(/error|TRANSPORT_|refused/i)
  })

  test("a certificate from another set's authority is refused", async () => {
    expect(await dial(foreign, 'replication_v1')).toMatch(
      /unknown|authority|certificate|issued|refused|reset|disconnected/i,
    )
  })

  test('no certificate is refused', async () => {
    expect(await dial({}, 'replication_v1')).toMatch(/certificate|refused|reset|disconnected/i)
  })

  test('a wrong ALPN is refused', async () => {
    expect(await dial(genuine, 'replication_dr_v1')).toMatch(
      /error: .*(alpn|no_application_protocol|no application protocol)/i,
    )
    expect(await dial(genuine, 'h2')).toMatch(/error/i)
  })

  test('TLS 1.2 is refused', async () => {
    expect(await dial(genuine, 'replication_v1', { maxVersion: 'TLSv1.2' })).toMatch(/error: .*(version|protocol)/i)
  })

  test('another key with the genuine certificate is refused before it is dialled', () => {
    expect(() => createPrivateKey(foreign.clientKey)).not.toThrow()
    expect(() =>
      connect({ port: 1, host: '127.0.0.1', cert: genuine.clientCertificate, key: foreign.clientKey }),
    ).toThrow(/mismatch/)
  })
})

test('after all that, a good token still works', async () => {
  await linkSecondary(primary, victim, 'performance', 'good')
  // Once its first sync is over.
  await waitFor('the role', async () => (await replicationStatus(victim, 'performance')).mode === 'secondary')
})
