// The call to the primary's API that redeems a wrapping token, over TLS that asks for a client certificate.
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createReplicationCa, issueSecondary } from '@lockstep/bootstrap'
import * as x509 from '@peculiar/x509'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unwrapActivation } from '../../src/replication/activation/unwrap-activation.ts'

let server: Server
let address: string
let directory: string
let caFile: string
let good: { clientCertPem: string; clientKeyPem: string }
let foreign: { clientCertPem: string; clientKeyPem: string }
const asked: { token: unknown; client: string }[] = []
/** Where a request is sent on to, once; "" = it is answered. */
let redirect = ''

async function selfSigned(name: string): Promise<{ cert: string; key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const made = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${name}`,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 3_600_000),
      signingAlgorithm: algorithm,
      keys,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }])],
    },
    webcrypto,
  )
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return { cert: made.toString('pem'), key: `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n` }
}

async function clientOf(clusterId: string) {
  const ca = await createReplicationCa({ clusterId, now: Date.now() })
  const { certificatePem, privateKeyPem } = await issueSecondary(ca, { id: 'operator', now: Date.now() })
  return { ca: ca.certificatePem, client: { clientCertPem: certificatePem, clientKeyPem: privateKeyPem } }
}

beforeAll(async () => {
  const { cert, key } = await selfSigned('localhost')
  const known = await clientOf('known')
  good = known.client
  foreign = (await clientOf('foreign')).client
  directory = await mkdtemp(join(tmpdir(), 'lockstep-unwrap-'))
  caFile = join(directory, 'ca.pem')
  await writeFile(caFile, cert)
  const tls = { cert, key, ca: known.ca, requestCert: true, rejectUnauthorized: true }
  server = createServer(tls, (request, response) => {
    const peer = (
      request.socket as unknown as { getPeerCertificate(): { subject: { CN: string } } }
    ).getPeerCertificate()
    asked.push({ token: request.headers['x-vault-token'], client: peer.subject.CN })
    const location = redirect
    redirect = ''
    if (location !== '') response.writeHead(307, { location }).end()
    else response.end(JSON.stringify({ data: { the: 'package' } }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  address = `https://localhost:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await rm(directory, { recursive: true })
})

test('the client certificate is presented', async () => {
  expect(await unwrapActivation({ address, token: 'ey', caFile, ...good })).toEqual({ the: 'package' })
  expect(asked).toEqual([{ token: 'ey', client: 'operator' }])
})

test('without one, or with one the API does not know, it is not reached', async () => {
  const before = asked.length
  for (const credentials of [{}, foreign, { clientCertPem: '', clientKeyPem: '' }]) {
    await expect(unwrapActivation({ address, token: 'ey', caFile, ...credentials })).rejects.toMatchObject({
      ...{ code: 'CORE_INVALID_REQUEST', message: expect.stringContaining('error unwrapping secondary token') },
    })
  }
  expect(asked).toHaveLength(before)
})

test('a server that is not trusted gets neither token nor certificate', async () => {
  const before = asked.length
  await expect(unwrapActivation({ address, token: 'ey', ...good })).rejects.toThrow(/self.signed certificate/)
  expect(asked).toHaveLength(before)
})

test('a key of another certificate, and what is no PEM, are named by their fields and never quoted', async () => {
  const mixed = { clientCertPem: good.clientCertPem, clientKeyPem: foreign.clientKeyPem }
  const cases: [Record<string, string>, string][] = [
    [mixed, 'client_key_pem: it does not belong to client_cert_pem'],
    [{ ...good, clientKeyPem: 'SECRET' }, 'client_key_pem: expected a private key in PEM'],
    [{ ...good, clientCertPem: 'SECRET' }, 'client_cert_pem: expected a certificate in PEM'],
  ]
  for (const [credentials, message] of cases) {
    const error = await unwrapActivation({ address, token: 'ey', caFile, ...credentials }).catch(
      (cause: Error) => cause,
    )
    expect((error as Error).message).toContain(message)
    expect((error as Error).message).not.toContain('SECRET')
  }
})

test('a standby sends it on to the active node, once, and never to another protocol', async () => {
  const before = asked.length
  redirect = `${address}/v1/sys/wrapping/unwrap`
  expect(await unwrapActivation({ address, token: 'ey', caFile, ...good })).toEqual({ the: 'package' })
  expect(asked.slice(before).map(({ token }) => token)).toEqual(['ey', 'ey'])
  redirect = 'http://localhost:1/v1/sys/wrapping/unwrap'
  await expect(unwrapActivation({ address, token: 'ey', caFile, ...good })).rejects.toThrow(
    /^primary_api_addr: redirected from https:\/\/localhost:\d+ to http:\/\/localhost:1$/,
  )
  redirect = 'https://['
  await expect(unwrapActivation({ address, token: 'ey', caFile, ...good })).rejects.toThrow(/status code is 307/)
})
