/** Certificate files of a listener, read and checked before anything depends on them, at start and on SIGHUP. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { ServerOptions } from 'node:https'
import { createSecureContext } from 'node:tls'
import type { TlsConfig } from './config/server-config.ts'
import { reasonOf, StartupError } from './startup-error.ts'

export async function readTlsFiles(config: TlsConfig): Promise<ServerOptions> {
  const [cert, key] = await Promise.all([read('tls_cert_file', config.certFile), read('tls_key_file', config.keyFile)])
  const ca = config.clientCaFile === undefined ? undefined : await read('tls_client_ca_file', config.clientCaFile)
  const certificate = parse('tls_cert_file', config.certFile, 'a PEM certificate', () => new X509Certificate(cert))
  const privateKey = parse('tls_key_file', config.keyFile, 'an unencrypted PEM private key', () =>
    createPrivateKey(key),
  )
  if (ca !== undefined) {
    parse('tls_client_ca_file', config.clientCaFile!, 'a PEM certificate', () => new X509Certificate(ca))
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new StartupError(`tls_key_file ${config.keyFile} does not belong to tls_cert_file ${config.certFile}`)
  }
  const options: ServerOptions = {
    cert,
    key,
    ca,
    minVersion: config.minVersion,
    requestCert: config.requireClientCert,
    rejectUnauthorized: config.requireClientCert,
    ALPNProtocols: ['http/1.1'],
  }
  parse('tls_cert_file', config.certFile, 'usable for TLS', () => createSecureContext(options))
  return options
}

async function read(name: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw new StartupError(`${name} ${file}: ${reasonOf(error)}`)
  }
}

function parse<T>(name: string, file: string, expected: string, work: () => T): T {
  try {
    return work()
  } catch {
    // OpenSSL's own words help nobody.
    throw new StartupError(`${name} ${file}: is not ${expected}`)
  }
}
