import { TransportError, type TransportErrorCode } from './errors.ts'

const CAUSES: readonly (readonly [RegExp, TransportErrorCode, string])[] = [
  [/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ENOTFOUND|EAI_\w+|EACCES)$/, 'TRANSPORT_REFUSED', ''],
  [/^(ETIMEDOUT|ERR_TLS_HANDSHAKE_TIMEOUT)$/, 'TRANSPORT_TIMEOUT', ''],
  [
    /SELF_SIGNED|UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|CERT_SIGNATURE_FAILURE|CERT_UNTRUSTED|INVALID_CA|INVALID_PURPOSE/,
    'TRANSPORT_UNKNOWN_AUTHORITY',
    'tls: unknown authority',
  ],
  [
    /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/,
    'TRANSPORT_CERTIFICATE_EXPIRED',
    'tls: certificate outside its validity period',
  ],
  [/ERR_TLS_CERT_ALTNAME_INVALID/, 'TRANSPORT_WRONG_NAME', 'tls: certificate is for another name'],
  [/NO_APPLICATION_PROTOCOL/, 'TRANSPORT_WRONG_PROTOCOL', 'tls: protocol not served here'],
  [/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION/, 'TRANSPORT_WRONG_TLS_VERSION', 'tls: no common version, 1.3 is needed'],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/,
    'TRANSPORT_HANDSHAKE',
    'tls: the peer does not speak TLS',
  ],
  // What OpenSSL sends when the name asked for has no certificate.
  [
    /HANDSHAKE_FAILURE|NO_SUITABLE_SIGNATURE|NO_SHARED_CIPHER/,
    'TRANSPORT_WRONG_PROTOCOL',
    'tls: name or protocol not served here',
  ],
  [
    /ECONNRESET|EPIPE/,
    'TRANSPORT_HANDSHAKE',
    'the connection was reset during the handshake (a proxy that terminates TLS?)',
  ],
]

/** Names the cause of a failed connection attempt or handshake. */
export function describeFailure(error: unknown): { code: TransportErrorCode; message: string } {
  if (error instanceof TransportError) return { code: error.code, message: error.message }
  const { code, message } = error as NodeJS.ErrnoException
  const found = CAUSES.find(([pattern]) => pattern.test(String(code ?? '')))
  if (!found) return { code: 'TRANSPORT_HANDSHAKE', message: String(message) }
  const [, transportCode, text] = found
  return { code: transportCode, message: text === '' ? String(message) : `${text} (${code})` }
}
