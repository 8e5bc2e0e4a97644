/** Fetches the activation package behind a secondary activation token from the primary's API address. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { CoreError } from '../../contracts.ts'

const MAX_BODY_BYTES = 256 * 1024
const TIMEOUT_MS = 30_000

export interface UnwrapOptions {
  /** Primary's API address, `https://host:port`. */
  address: string
  token: string
  /** PEM file trusted instead of the system's roots. */
  caFile?: string
  /** Directory of PEM files trusted instead of the system's roots. */
  caPath?: string
  /** Client certificate and its key for an API that asks for one, PEM; both or none. */
  clientCertPem?: string
  clientKeyPem?: string
}

/** The `data` of the unwrapped response. Rejects with CORE_INVALID_REQUEST naming the cause. */
export async function unwrapActivation(options: UnwrapOptions): Promise<unknown> {
  const url = parseAddress(options.address)
  const tls = url.protocol === 'https:' ? { ca: await trustedRoots(options), ...clientCredentials(options) } : undefined
  const { status, body } = await postToActive(url, options.token, tls)
  if (status !== 200) {
    throw refused(
      `error response unwrapping secondary token; status code is ${status}, message is "${firstError(body)}"`,
    )
  }
  return (parse(body) as { data?: unknown } | undefined)?.data
}

function parseAddress(address: string): URL {
  let url: URL
  try {
    url = new URL('/v1/sys/wrapping/unwrap', address)
  } catch (cause) {
    throw refused(`primary_api_addr: ${JSON.stringify(address)} is not a URL`, cause)
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw refused(`primary_api_addr: expected http or https, not ${url.protocol.slice(0, -1)}`)
  }
  return url
}

async function trustedRoots({ caFile, caPath }: UnwrapOptions): Promise<string[]> {
  const load = async (field: string, read: () => Promise<string[]>): Promise<string[]> => {
    try {
      return await read()
    } catch (cause) {
      throw refused(`${field}: cannot be read: ${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}`, cause)
    }
  }
  if (caFile) return load('ca_file', async () => [await readFile(caFile, 'utf8')])
  if (caPath) {
    return load('ca_path', async () => {
      const names = (await readdir(caPath)).filter((name) => /\.(pem|crt|cer)$/i.test(name))
      return Promise.all(names.map((name) => readFile(join(caPath, name), 'utf8')))
    })
  }
  return [...rootCertificates]
}

interface TlsSettings {
  ca: string[]
  cert?: string
  key?: string
}

function clientCredentials({
  clientCertPem = '',
  clientKeyPem = '',
}: UnwrapOptions): Pick<TlsSettings, 'cert' | 'key'> {
  if (clientCertPem === '' && clientKeyPem === '') return {}
  if (clientCertPem === '') throw refused('client_cert_pem: expected the certificate of client_key_pem')
  if (clientKeyPem === '') throw refused('client_key_pem: expected the key of client_cert_pem')
  let certificate: X509Certificate
  let key: KeyObject
  try {
    certificate = new X509Certificate(clientCertPem)
  } catch {
    throw refused('client_cert_pem: expected a certificate in PEM')
  }
  try {
    key = createPrivateKey(clientKeyPem)
  } catch {
    throw refused('client_key_pem: expected a private key in PEM, not encrypted')
  }
  if (!certificate.checkPrivateKey(key)) throw refused('client_key_pem: it does not belong to client_cert_pem')
  return { cert: clientCertPem, key: clientKeyPem }
}

interface Reply {
  status: number
  body: string
  /** Where a redirect leads; "" when there is none. */
  location: string
}

/** A standby that cannot pass the request on names the active node. What is asked for, and how it is trusted, stays the same. */
async function postToActive(url: URL, token: string, tls: TlsSettings | undefined): Promise<Reply> {
  const reply = await post(url, token, tls)
  if (reply.status !== 307 || !URL.canParse(reply.location, url.href)) return reply
  const { protocol, host } = new URL(reply.location, url)
  if (protocol !== url.protocol)
    throw refused(`primary_api_addr: redirected from ${url.origin} to ${protocol}//${host}`)
  return post(new URL(url.pathname, `${protocol}//${host}`), token, tls)
}

function post(url: URL, token: string, tls: TlsSettings | undefined): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(refused(`error unwrapping secondary token: ${url.origin}: ${cause.message}`, cause))
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request = send(
      url,
      {
        method: 'PUT',
        agent: false,
        ...tls,
        timeout: TIMEOUT_MS,
        headers: { 'x-vault-token': token, 'x-vault-request': 'true' },
      },
      (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > MAX_BODY_BYTES) request.destroy(new Error('reply is too large'))
          else chunks.push(chunk)
        })
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString('utf8'),
            location: response.headers.location ?? '',
          }),
        )
        response.on('error', fail)
      },
    )
    request.on('timeout', () => request.destroy(new Error(`no reply within ${TIMEOUT_MS / 1000} seconds`)))
    request.on('error', fail)
    request.end()
  })
}

function firstError(body: string): string {
  const errors = (parse(body) as { errors?: unknown } | undefined)?.errors
  return Array.isArray(errors) && typeof errors[0] === 'string' ? errors[0].slice(0, 200) : 'no reason given'
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

function refused(message: string, cause?: unknown): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message, { cause })
}
