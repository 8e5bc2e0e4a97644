import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ChannelOptions,
  type ClientDuplexStream,
  credentials,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
  status as Status,
} from '@grpc/grpc-js'
import { type Endpoint, type EtcdConnection, type EtcdTls, parseEndpoints, unavailable } from './connection.ts'
import { EtcdCallError, etcdError, isStaleToken, isTransient, wasNotCarriedOut } from './etcd-error.ts'
import {
  decodeLease,
  decodeRange,
  decodeToken,
  decodeTxn,
  decodeWatch,
  encodeAuthenticate,
  encodeLeaseGrant,
  encodeLeaseId,
  encodeRange,
  encodeTxn,
  encodeWatchCreate,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
  type WatchResponse,
} from './messages.ts'

/** Longest answer taken, bytes. Readers ask for less at once when one is longer, down to one entry. */
export const LONGEST_ANSWER = 16 * 1024 * 1024
const RETRY_MS = 100
const DEADLINE_GRACE_MS = 5000

interface CallOptions {
  /** May it be sent again when it is not known whether it was carried out? Default true. */
  repeatable?: boolean
  /** Milliseconds for all attempts. Default: the connection's `requestTimeout`. */
  timeout?: number
}

const CHANNEL: ChannelOptions = {
  'grpc.max_receive_message_length': LONGEST_ANSWER,
  'grpc.max_send_message_length': -1,
  // etcd hangs up on clients that ping more often than every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 3000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  // A proxy for the web does not lead to a database.
  'grpc.enable_http_proxy': 0,
  'grpc.primary_user_agent': 'lockstep',
}

/** Calls to one etcd cluster: stays with an endpoint until it fails, then goes on with the next. */
export class EtcdClient {
  readonly #channels: GrpcClient[]
  readonly #auth: EtcdConnection['auth']
  readonly #timeout: number
  #current = 0
  #metadata: Promise<Metadata> | undefined
  #closed = false

  constructor(connection: EtcdConnection) {
    const { tls, auth, requestTimeout = 5000 } = connection
    if (!(requestTimeout > 0)) throw new TypeError('expected a requestTimeout greater than 0')
    this.#timeout = requestTimeout
    this.#auth = auth
    this.#channels = parseEndpoints(connection.endpoints).map((endpoint) => channelTo(endpoint, tls))
  }

  /** Linearizable, unless a revision is given. */
  async range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse> {
    return decodeRange(await this.#call('/etcdserverpb.KV/Range', encodeRange(request), options))
  }

  /** `repeatable` must say no when carrying it out twice differs from once. */
  async txn(request: TxnRequest | Buffer, options: CallOptions = {}): Promise<TxnResponse> {
    const message = Buffer.isBuffer(request) ? request : encodeTxn(request)
    return decodeTxn(await this.#call('/etcdserverpb.KV/Txn', message, options))
  }

  /** Resolves to the lease and the seconds it was granted, which may be more. */
  async grantLease(ttlSeconds: number): Promise<{ id: bigint; ttl: number }> {
    return decodeLease(await this.#call('/etcdserverpb.Lease/LeaseGrant', encodeLeaseGrant(ttlSeconds)))
  }

  async revokeLease(id: bigint): Promise<void> {
    await this.#call('/etcdserverpb.Lease/LeaseRevoke', encodeLeaseId(id))
  }

  /**
   * The seconds it has from an attempt on that began after the call, 0 when it is gone. A stream of one message each way is what a
   * call is.
   */
  async keepLeaseAlive(id: bigint, timeout: number): Promise<number> {
    const message = encodeLeaseId(id)
    const answer = await this.#call('/etcdserverpb.Lease/LeaseKeepAlive', message, { timeout })
    return decodeLease(answer).ttl
  }

  /** Changes of a key from a revision on. Ends, with or without an error, when the server or connection does. */
  async watch(key: Buffer, startRevision: number, signal: AbortSignal, on: (answer: WatchResponse) => void) {
    const metadata = await this.#authenticated(this.#timeout)
    signal.throwIfAborted()
    const channel = this.#channels[this.#current]!
    const stream: ClientDuplexStream<Buffer, Buffer> = channel.makeBidiStreamRequest(
      '/etcdserverpb.Watch/Watch',
      passThrough,
      passThrough,
      metadata,
    )
    const stop = () => stream.cancel()
    signal.addEventListener('abort', stop, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        stream.on('data', (message: Buffer) => {
          try {
            on(decodeWatch(message))
          } catch (error) {
            reject(error)
            stream.cancel()
          }
        })
        stream.on('end', resolve)
        stream.on('error', (error: ServiceError) => reject(new EtcdCallError(error.code, error.details)))
        stream.write(encodeWatchCreate(key, startRevision))
      })
    } finally {
      signal.removeEventListener('abort', stop)
      stream.cancel()
    }
  }

  close(): void {
    this.#closed = true
    for (const channel of this.#channels) channel.close()
  }

  async #call(method: string, message: Buffer, options: CallOptions = {}): Promise<Buffer> {
    const { repeatable = true } = options
    const end = performance.now() + (options.timeout ?? this.#timeout)
    for (let attempt = 1; ; attempt++) {
      if (this.#closed) throw unavailable('the connection is closed')
      const endpoint = this.#current
      try {
        // An endpoint that is silent must not use up the time of the others; a write has only one try.
        const share = (left: number, tries: boolean) => Math.min(tries ? Math.max(left / 2, 500) : left, left)
        const others = this.#channels.length > 1
        const metadata = await this.#authenticated(share(end - performance.now(), others))
        const timeout = share(end - performance.now(), repeatable && others)
        return await unary(this.#channels[endpoint]!, method, message, metadata, timeout)
      } catch (error) {
        if (!(error instanceof EtcdCallError)) throw error
        if (isStaleToken(error) && this.#auth && attempt <= 3) {
          this.#metadata = undefined
          continue
        }
        if (!isTransient(error)) throw error
        // Others may have moved on from it already.
        if (this.#current === endpoint) this.#current = (endpoint + 1) % this.#channels.length
        const again = repeatable || wasNotCarriedOut(error)
        if (!again || performance.now() + RETRY_MS >= end) throw error
        if (attempt % this.#channels.length === 0) await sleep(RETRY_MS)
      }
    }
  }

  #authenticated(timeout: number): Promise<Metadata> {
    this.#metadata ??= this.#authenticate(timeout).catch((error: unknown) => {
      this.#metadata = undefined
      throw error
    })
    return this.#metadata
  }

  async #authenticate(timeout: number): Promise<Metadata> {
    const metadata = new Metadata()
    // A member that is cut off from the others then says so at once.
    metadata.set('hasleader', 'true')
    if (this.#auth === undefined) return metadata
    const { username, password } = this.#auth
    const message = encodeAuthenticate(username, password)
    try {
      const channel = this.#channels[this.#current]!
      const answer = await unary(channel, '/etcdserverpb.Auth/Authenticate', message, metadata, timeout)
      metadata.set('token', decodeToken(answer))
    } catch (error) {
      if (!(error instanceof EtcdCallError)) throw error
      // As etcd's own clients: credentials do no harm where none are asked for.
      if (error.details.includes('authentication is not enabled')) return metadata
      if (isTransient(error)) throw error
      throw etcdError(new EtcdCallError(error.status, `it refuses the username or password (${error.details})`))
    }
    return metadata
  }
}

function channelTo({ target, secure }: Endpoint, tls: EtcdTls = {}): GrpcClient {
  const options =
    tls.serverName === undefined ? CHANNEL : { ...CHANNEL, 'grpc.ssl_target_name_override': tls.serverName }
  return new GrpcClient(target, secure ? secureCredentials(tls) : credentials.createInsecure(), options)
}

function secureCredentials({ ca, cert, key }: EtcdTls) {
  const pem = (text: Uint8Array | string | undefined) => (text === undefined ? null : Buffer.from(text))
  if ((cert === undefined) !== (key === undefined)) throw new TypeError('expected a tls.cert together with a tls.key')
  return credentials.createSsl(pem(ca), pem(key), pem(cert))
}

const passThrough = (message: Buffer): Buffer => message

function unary(
  channel: GrpcClient,
  method: string,
  message: Buffer,
  metadata: Metadata,
  timeout: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // gRPC's own deadline is for the server, and a process too busy to read would take answers that have come for late.
    const deadline = Date.now() + 2 * timeout + DEADLINE_GRACE_MS
    let timedOut = false
    const done = (error: ServiceError | null, answer?: Buffer) => {
      clearTimeout(timer)
      if (error && timedOut)
        reject(new EtcdCallError(Status.DEADLINE_EXCEEDED, `no answer within ${Math.round(timeout)} ms`))
      else if (error) reject(new EtcdCallError(error.code, error.details))
      else if (answer === undefined) reject(new EtcdCallError(Status.INTERNAL, 'an answer without a message'))
      else resolve(answer)
    }
    const call = channel.makeUnaryRequest(method, passThrough, passThrough, message, metadata, { deadline }, done)
    const timer = setTimeout(
      () =>
        afterReading(() => {
          timedOut = true
          call.cancel()
        }),
      timeout,
    )
  })
}

/** Once what has arrived by now has been read. */
function afterReading(run: () => void): void {
  setImmediate(() => setImmediate(run))
}
