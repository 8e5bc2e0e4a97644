import { StorageError } from '@lockstep/storage'

/** Where etcd is and how to speak with it. */
export interface EtcdConnection {
  /** URLs of the members, `http://host:2379` or `https://…`, all of one scheme; also as one text with commas. */
  endpoints: string | readonly string[]
  /** For `https`. PEM. Default: the system's authorities, no client certificate. */
  tls?: EtcdTls
  /** When etcd's authentication is on. */
  auth?: { username: string; password: string }
  /** Milliseconds after which a request is given up. Default 5000. */
  requestTimeout?: number
}

export interface EtcdTls {
  ca?: Uint8Array | string
  cert?: Uint8Array | string
  key?: Uint8Array | string
  /** The name to expect in the servers' certificates, where it is not that of the endpoint. */
  serverName?: string
}

export interface Endpoint {
  /** `host:port`. */
  readonly target: string
  readonly secure: boolean
}

/** Throws `TypeError` for what is no list of etcd URLs. */
export function parseEndpoints(endpoints: string | readonly string[]): Endpoint[] {
  const texts = (typeof endpoints === 'string' ? endpoints.split(',') : endpoints).map((text) => text.trim())
  const parsed = texts.filter((text) => text !== '').map(parseEndpoint)
  if (parsed.length === 0) throw new TypeError('expected endpoints: at least one http:// or https:// URL')
  if (parsed.some(({ secure }) => secure !== parsed[0]!.secure)) {
    throw new TypeError('expected endpoints that are all http:// or all https://')
  }
  return parsed
}

function parseEndpoint(text: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain = url !== undefined && (url.pathname === '' || url.pathname === '/') && url.search === ''
  if (!plain || !/^https?:$/.test(url.protocol) || url.hostname === '' || url.username !== '' || url.password !== '') {
    // The text is not repeated: somebody may have put a password into it.
    throw new TypeError('expected endpoints like http://host:2379 or https://host:2379, without user, path or query')
  }
  const port = url.port || (url.protocol === 'https:' ? '443' : '80')
  return { target: `${url.hostname}:${port}`, secure: url.protocol === 'https:' }
}

const PREFIX_BYTES = 512

/** The prefix of all keys, ending in "/". */
export function parsePrefix(prefix = '/lockstep/'): string {
  const whole = prefix.endsWith('/') ? prefix : `${prefix}/`
  if (whole === '/' || Buffer.byteLength(whole) > PREFIX_BYTES || whole.includes('\0')) {
    throw new TypeError(`expected a prefix of 1 to ${PREFIX_BYTES - 1} bytes`)
  }
  return whole
}

export function unavailable(reason: string, cause?: unknown): StorageError {
  return new StorageError('STORAGE_UNAVAILABLE', `etcd is not available: ${reason}`, { cause })
}
