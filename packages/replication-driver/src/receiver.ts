/** Follows a primary: dials, runs a session until its link ends, and dials again. */
import {
  decodePosition,
  type Link,
  NO_POSITION,
  type Plain,
  type Position,
  type SecondaryStatus,
  type SelfReport,
  type WalOperation,
} from '@lockstep/replication'
import { nothingToReport, refuseRequests } from './end-defaults.ts'
import { LinkError } from './errors.ts'
import type { OnRequest, RequestOptions } from './link-calls.ts'
import type { LoggedStore } from './logged-store.ts'
import { type ReceiverSession, type ReceiverSessionOptions, receiverSession } from './receiver-session.ts'
import { type Runtime, systemRuntime } from './runtime.ts'

export interface ReceiverComponents {
  store: Pick<LoggedStore, 'forest' | 'keysOf' | 'apply' | 'get'>
  /** One attempt. The signal aborts it on `close`. */
  dial(signal: AbortSignal): Promise<Link>
  /** Default: the runtime's. */
  clock?: { now(): number }
  /** Default: the system's. */
  runtime?: Runtime
  /** True, or why this cluster must not hold the entry, which ends the link. See `acceptTagged`. */
  accept(entry: WalOperation): true | string
  /** What heartbeats tell of this cluster. Default: nothing. */
  report?(): Omit<SelfReport, 'cursor'>
  /** Default: requests of the primary are refused. */
  onRequest?: OnRequest
  log?: {
    info(message: string, fields?: Record<string, unknown>): void
    warn(message: string, fields?: Record<string, unknown>): void
  }
  /** Called when `state`, `connectionState` or `lastError` have changed. */
  onState?(status: FollowStatus): void
}

export interface ReceiverOptions extends ReceiverSessionOptions {
  /** Wait before dialling again: doubled after each failure, halved at random. ms, default 250 and 30,000. */
  backoff?: { minMs: number; maxMs: number }
}

export type ConnectionState = 'idle' | 'connecting' | 'ready' | 'transient_failure' | 'shutdown'

/** While there is no link it shows the last one's, with state `idle` and growing lag. */
export interface FollowStatus extends SecondaryStatus {
  connectionState: ConnectionState
  /** Why the last link ended or could not be had; "" when none has. */
  lastError: string
}

export interface FollowHandle {
  status(): FollowStatus
  /** Calls the primary's application. Rejects with `LinkError`, at once when there is no link. */
  request(method: string, body: Plain, options?: RequestOptions): Promise<Plain>
  /** Resolves true once everything the primary logged up to `index` is applied here, false after `timeoutMs` or on close. */
  applied(index: number, timeoutMs: number): Promise<boolean>
  /** Compares everything with the primary once more, by Merkle diff. */
  compare(reason: string): void
  /** Dials now instead of waiting on after a failure, and forgets how often it has failed. */
  retry(): void
  /** Resolves when nothing is written any more. */
  close(): Promise<void>
}

/** A session that lasted this long was a good one: the next dial is not delayed by earlier failures. */
const GOOD_SESSION_MS = 10_000

export function followPrimary(components: ReceiverComponents, options: ReceiverOptions): FollowHandle {
  const { store, dial, accept, log } = components
  const { runtime = systemRuntime, report = nothingToReport, onRequest = refuseRequests } = components
  const { clock = runtime } = components
  const { minMs, maxMs } = options.backoff ?? { minMs: 250, maxMs: 30_000 }
  const stop = new AbortController()
  const { signal } = stop
  let session: ReceiverSession | undefined
  let last: SecondaryStatus = initialStatus()
  let lastContact = clock.now()
  let connectionState: ConnectionState = 'idle'
  let lastError = ''
  const waiters = new Set<{ index: number; resolve(done: boolean): void }>()

  const status = (): FollowStatus => {
    const current = session?.status()
    if (current) return { ...current, connectionState, lastError }
    // What was not heard of can be missing too: without a link, lag is the time since the last news.
    const lagMs = Math.max(last.lagMs, clock.now() - lastContact)
    return { ...last, state: 'idle', sync: null, lagMs, connectionState, lastError }
  }

  const appliedIndex = (): number => (session?.status() ?? last).position.cursor?.index ?? -1

  const onProgress = (): void => {
    if (connectionState === 'connecting' && session?.status().protocol) connectionState = 'ready'
    const index = waiters.size > 0 ? appliedIndex() : -1
    for (const waiter of waiters) {
      if (waiter.index <= index) waiter.resolve(true)
    }
    announce()
  }

  let announced = ''
  const announce = (): void => {
    if (!components.onState) return
    const now = status()
    const shown = `${now.state} ${now.connectionState} ${now.lastError}`
    if (shown === announced) return
    announced = shown
    components.onState(now)
  }

  const storedPosition = async (): Promise<Position> => {
    const bytes = await store.get(options.positionKey)
    return bytes ? decodePosition(bytes) : NO_POSITION
  }

  const followOnce = async (): Promise<string> => {
    const position = await storedPosition()
    last = { ...last, position }
    const link = await dial(signal)
    if (signal.aborted) {
      link.close('the secondary is closing down')
      return 'closed'
    }
    const continued = { ...options, before: last }
    session = receiverSession(
      { store, link, clock, runtime, accept, report, onRequest, onProgress },
      position,
      continued,
    )
    try {
      return await session.ended
    } finally {
      last = session.status()
      lastContact = Math.max(last.heartbeat.lastHeartbeat, lastContact)
      session = undefined
    }
  }

  let failures = 0
  let endPause: (() => void) | undefined
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      connectionState = 'connecting'
      announce()
      const started = clock.now()
      try {
        lastError = await followOnce()
      } catch (error) {
        lastError = (error as Error).message
      }
      if (signal.aborted) break
      connectionState = 'transient_failure'
      log?.warn('replication link to the primary ended', { kind: options.kind, reason: lastError })
      announce()
      failures = clock.now() - started > GOOD_SESSION_MS ? 1 : failures + 1
      const ms = Math.min(maxMs, minMs * 2 ** (failures - 1)) * (0.5 + runtime.random() / 2)
      await pause(runtime, ms, signal, (end) => {
        endPause = end
      })
    }
    connectionState = 'shutdown'
    announce()
  }
  const running = run()

  return {
    status,
    request(method, body, requestOptions) {
      if (!session) return Promise.reject(new LinkError('REPLICATION_DISCONNECTED', 'there is no link to the primary'))
      return session.request(method, body, requestOptions)
    },
    applied(index, timeoutMs) {
      if (appliedIndex() >= index) return Promise.resolve(true)
      if (signal.aborted) return Promise.resolve(false)
      return new Promise((resolve) => {
        const waiter = {
          index,
          resolve(done: boolean) {
            cancel()
            waiters.delete(waiter)
            resolve(done)
          },
        }
        const cancel = runtime.after(timeoutMs, () => waiter.resolve(false))
        waiters.add(waiter)
      })
    },
    compare: (reason) => session?.compare(reason),
    retry() {
      failures = 0
      endPause?.()
    },
    async close() {
      stop.abort()
      session?.close('the secondary is closing down')
      await running
      for (const waiter of waiters) waiter.resolve(false)
    },
  }
}

function initialStatus(): SecondaryStatus {
  const heartbeat = {
    lastHeartbeat: 0,
    roundTripMs: 0,
    clockSkewMs: 0,
    canary: 0,
    canaryAgeMs: 0,
    addresses: [],
    apiAddress: '',
  }
  return {
    state: 'idle',
    protocol: 0,
    position: NO_POSITION,
    lastRemoteWal: 0,
    primaryHead: 0,
    lagMs: 0,
    verified: null,
    guardFailures: 0,
    streamFaults: 0,
    lastRepair: null,
    rounds: 0,
    diffReason: '',
    sync: null,
    heartbeat,
  }
}

function pause(runtime: Runtime, ms: number, signal: AbortSignal, started: (end: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = runtime.after(ms, done)
    signal.addEventListener('abort', done)
    started(done)
    if (signal.aborted) done()
  })
}
