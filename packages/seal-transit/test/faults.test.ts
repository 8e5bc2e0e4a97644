// What a provider, or what stands in its place, may do.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createReplicationCa, issuePrimaryServer, issueSecondary } from '@lockstep/bootstrap'
import { afterEach, describe, expect, test } from 'vitest'
import { type TransitSeal, type TransitSealOptions, transitSeal } from '../src/index.ts'

const TOKEN = 'hvs.secret-token-of-the-seal'
const plaintext = Buffer.from('the root key in the clear')

let undo: (() => unknown)[] = []
afterEach(async () => {
  for (const end of undo.reverse()) await end()
  undo = []
})

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  undo.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

async function fake(answer: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(createServer(answer))}`
}

const json = (response: ServerResponse, body: unknown, status = 200) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))

async function bodyOf(request: IncomingMessage) {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString())
}

/** Hides nothing, and is transit enough. */
const transit: RequestListener = async (request, response) => {
  const { plaintext: text, ciphertext } = await bodyOf(request)
  if (request.url?.includes('/encrypt/')) {
    json(response, { data: { ciphertext: `vault:v3:${Buffer.from(text.padEnd(60, ' ')).toString('base64')}` } })
  } else {
    const kept = Buffer.from(ciphertext.split(':')[2], 'base64').toString().trim()
    json(response, { data: { plaintext: kept } })
  }
}

function open(address: string, options: Partial<TransitSealOptions> = {}): { seal: TransitSeal; logged: string[] } {
  const logged: string[] = []
  const note = (message: string, fields?: object) => void logged.push(`${message} ${JSON.stringify(fields)}`)
  const log = { info: note, warn: note }
  const seal = transitSeal({ address, token: TOKEN, keyName: 'k', disableRenewal: true, log, ...options })
  undo.push(() => seal.close())
  return { seal, logged }
}

async function refusal(seal: TransitSeal): Promise<Error & { code: string }> {
  const error = await seal.encrypt(plaintext).then(
    () => new Error('it encrypted'),
    (reason: Error) => reason,
  )
  const everything = `${error.stack} ${JSON.stringify(error)} ${String((error.cause as Error)?.stack)}`
  expect(everything).not.toContain(TOKEN)
  expect(everything).not.toContain(plaintext.toString('base64'))
  return error as Error & { code: string }
}

describe('a provider that is away or not one', () => {
  test('nobody listens', async () => {
    const error = await refusal(open('http://127.0.0.1:9').seal)
    expect(error).toMatchObject({ code: 'SEAL_UNAVAILABLE', message: expect.stringContaining('127.0.0.1:9') })
    expect(error.message).toContain('ECONNREFUSED')
  })

  test('it does not answer', async () => {
    const address = await fake(() => {})
    const error = await refusal(open(address, { timeoutMs: 100 }).seal)
    expect(error).toMatchObject({ code: 'SEAL_UNAVAILABLE', message: expect.stringContaining('no answer in time') })
  })

  test('it answers without end', async () => {
    const address = await fake((_, response) => {
      const more = () =>
        void (response.write('x'.repeat(64 * 1024)) ? setImmediate(more) : response.once('drain', more))
      response.on('error', () => {})
      more()
    })
    const error = await refusal(open(address).seal)
    expect(error).toMatchObject({ code: 'SEAL_UNAVAILABLE', message: expect.stringContaining('too long') })
  })

  const statuses: [number, unknown, string][] = [
    [503, { errors: ['Vault is sealed'] }, 'sealed'],
    [500, { errors: [`1 error occurred: ${TOKEN}`] }, 'status 500'],
    [403, { errors: ['permission denied'] }, 'permission denied'],
    [400, { errors: [`strange: ${TOKEN}`] }, 'refuses'],
    [404, { errors: [] }, 'mount path'],
    [200, { data: { ciphertext: TOKEN } }, 'no ciphertext'],
    [200, { data: null }, 'no ciphertext'],
    [200, 'text', 'no ciphertext'],
    [200, { data: { ciphertext: `vault:v0:${'A'.repeat(80)}` } }, 'no ciphertext'],
  ]
  test.each(statuses)('it answers %i %j', async (status, body, text) => {
    const address = await fake((_, response) => json(response, body, status))
    const error = await refusal(open(address).seal)
    expect(error).toMatchObject({ code: 'SEAL_UNAVAILABLE', message: expect.stringContaining(text) })
  })

  test('it closes the connections it had kept open', async () => {
    const server = createServer(transit)
    const { seal } = open(`http://127.0.0.1:${await listen(server)}`)
    for (let round = 0; round < 3; round++) {
      expect(await seal.decrypt(await seal.encrypt(plaintext))).toEqual(new Uint8Array(plaintext))
      server.closeIdleConnections()
    }
  })
})

describe('redirects', () => {
  test('of a standby to the active node are followed, with token and body', async () => {
    const seen: unknown[] = []
    const active = await fake((request, response) => {
      seen.push(request.headers['x-vault-token'])
      void transit(request, response)
    })
    const standby = await fake((request, response) => {
      request.resume()
      response.writeHead(307, { location: `${active}${request.url}` }).end()
    })
    const { seal } = open(standby)
    expect(await seal.decrypt(await seal.encrypt(plaintext))).toEqual(new Uint8Array(plaintext))
    expect(seen).toEqual([TOKEN, TOKEN])
  })

  test('without end are not', async () => {
    const address = await fake((request, response) => {
      request.resume()
      response.writeHead(307, { location: String(request.url) }).end()
    })
    expect((await refusal(open(address).seal)).message).toContain('too many redirects')
  })
})

describe('TLS', () => {
  async function secure(asksForCertificate: boolean) {
    const now = Date.now()
    const ca = await createReplicationCa({ clusterId: 'tls', now })
    const server = await issuePrimaryServer(ca, { now })
    const client = await issueSecondary(ca, { id: 'c', now })
    const listener = createTlsServer(
      {
        key: server.privateKeyPem,
        cert: server.certificatePem,
        ca: ca.certificatePem,
        requestCert: asksForCertificate,
        rejectUnauthorized: asksForCertificate,
      },
      transit,
    )
    return { ca, client, address: `https://127.0.0.1:${await listen(listener as unknown as Server)}` }
  }
  const NAME = 'tls.replication.lockstep'

  test('its authority and name are checked, a client certificate is shown', async () => {
    const { ca, client, address } = await secure(true)
    const trust = { ca: ca.certificatePem, serverName: NAME }
    const shown = { cert: client.certificatePem, key: client.privateKeyPem }
    const { seal } = open(address, { tls: { ...trust, ...shown } })
    expect(await seal.decrypt(await seal.encrypt(plaintext))).toEqual(new Uint8Array(plaintext))
    for (const tls of [{}, trust, shown, { ca: ca.certificatePem, ...shown }]) {
      expect(await refusal(open(address, { tls }).seal)).toMatchObject({ code: 'SEAL_UNAVAILABLE' })
    }
  })

  test('any certificate, when asked for', async () => {
    const { address } = await secure(false)
    const { seal, logged } = open(address, { tls: { skipVerify: true } })
    expect(await seal.decrypt(await seal.encrypt(plaintext))).toEqual(new Uint8Array(plaintext))
    expect(logged.join()).toContain('is not checked')
  })

  test('no redirect to a connection without it', async () => {
    const plain = await fake(transit)
    const now = Date.now()
    const server = await issuePrimaryServer(await createReplicationCa({ clusterId: 'tls', now }), { now })
    const pem = { key: server.privateKeyPem, cert: server.certificatePem }
    const listener = createTlsServer(pem, (request, response) => {
      request.resume()
      response.writeHead(307, { location: `${plain}${request.url}` }).end()
    })
    const address = `https://127.0.0.1:${await listen(listener as unknown as Server)}`
    const error = await refusal(open(address, { tls: { skipVerify: true } }).seal)
    expect(error.message).toContain('unprotected')
  })
})

describe('the token', () => {
  /** Answers with the next of these, then with the last one for good. */
  function tokenServer(answers: { lookup?: object | number; renew?: object | number }[]) {
    let renewals = 0
    const address = fake((request, response) => {
      request.resume()
      const { lookup, renew } = answers[Math.min(renewals, answers.length - 1)]!
      const looks = request.url === '/v1/auth/token/lookup-self'
      const answer = looks ? lookup : renew
      if (!looks) renewals++
      json(
        response,
        typeof answer === 'object' ? answer : { errors: [TOKEN] },
        typeof answer === 'object' ? 200 : answer,
      )
    })
    return { address, renewals: () => renewals }
  }
  const alive = { data: { ttl: 3, renewable: true } }
  const renewed = (lease_duration: number) => ({ auth: { lease_duration, renewable: true } })
  const quick = { disableRenewal: false, renewal: { retryMs: 1, longestMs: 4 } }

  test('is renewed again and again, through failures', async () => {
    const server = tokenServer([
      { lookup: alive, renew: renewed(0.6) },
      { lookup: alive, renew: 503 },
      { lookup: 403, renew: 503 },
      { lookup: 403, renew: renewed(0.6) },
    ])
    const { logged } = open(await server.address, quick)
    await expect.poll(server.renewals).toBeGreaterThan(6)
    expect(logged.filter((line) => line.includes('trying again'))).toHaveLength(2)
    expect(logged.join()).not.toContain(TOKEN)
  })

  test.each([
    ['that does not expire is left alone', [{ lookup: { data: { ttl: 0, renewable: false } } }], []],
    [
      'that cannot be renewed is reported once',
      [{ lookup: { data: { ttl: 77, renewable: false } } }],
      [expect.stringMatching(/cannot be renewed.*77/)],
    ],
    [
      'that reached its maximum is reported',
      [
        { lookup: alive, renew: renewed(0.6) },
        { lookup: alive, renew: { auth: { lease_duration: 0.1, renewable: false } } },
      ],
      [expect.stringMatching(/nears the end/), expect.stringMatching(/cannot be renewed/)],
    ],
  ])('%s', async (_, answers, expected) => {
    const server = tokenServer(answers)
    const { logged } = open(await server.address, quick)
    await expect.poll(() => logged).toEqual(expected)
  })

  test('is asked for before every call, and never sent when it is none', async () => {
    const seen: unknown[] = []
    const address = await fake((request, response) => {
      seen.push(request.headers['x-vault-token'])
      void transit(request, response)
    })
    const tokens = ['first', 'second', '', 'two\r\nlines']
    const { seal } = open(address, { token: () => tokens.shift()! })
    await seal.encrypt(plaintext)
    await seal.encrypt(plaintext)
    for (let n = 0; n < 2; n++)
      await expect(seal.encrypt(plaintext)).rejects.toMatchObject({ code: 'SEAL_UNAVAILABLE' })
    expect(seen).toEqual(['first', 'second'])
  })

  test('over an unprotected connection to elsewhere is warned of', () => {
    const { logged } = open('http://vault.example:8200')
    expect(logged.join()).toContain('unencrypted')
  })
})

test.each([
  [{ address: 'vault:8200' }, 'https://'],
  [{ address: 'nothing' }, 'URL'],
  [{ address: 'https://user:pw@vault:8200' }, 'no credentials'],
  [{ keyName: 'a/b' }, 'name of the transit key'],
  [{ keyName: '..' }, 'name of the transit key'],
  [{ mountPath: 'a/../sys' }, 'mount path'],
  [{ mountPath: '/' }, 'mount path'],
  [{ namespace: 'a\r\nb' }, 'namespace'],
])('refuses %j', (options, text) => {
  expect(() => transitSeal({ address: 'https://vault', token: TOKEN, keyName: 'k', ...options })).toThrow(
    expect.objectContaining({ code: 'SEAL_INVALID_CONFIG', message: expect.stringContaining(text) }),
  )
})
