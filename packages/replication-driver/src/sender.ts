/** Runs the primary's session of one link over a logged store. */
import {
  type Link,
  type LinkKind,
  type Plain,
  type PrimaryEffect,
  type PrimaryEvent,
  type PrimaryOptions,
  type PrimaryStatus,
  primarySession,
  type SelfReport,
  type View,
} from '@lockstep/replication'
import { nothingToReport, refuseRequests } from './end-defaults.ts'
import { linkCalls, type OnRequest, type RequestOptions } from './link-calls.ts'
import { logReads } from './log-reads.ts'
import type { LoggedStore } from './logged-store.ts'
import { type Runtime, systemRuntime } from './runtime.ts'

export interface SenderComponents {
  store: Pick<LoggedStore, 'log' | 'forest' | 'readEntries'>
  /** From now on owned by the sender. */
  link: Link
  view: View
  /** Default: the runtime's. */
  clock?: { now(): number }
  /** Default: the system's. */
  runtime?: Runtime
  /** Default: requests of the secondary are refused. */
  onRequest?: OnRequest
}

export interface SenderOptions extends PrimaryOptions {
  kind: LinkKind
  clusterId: string
  /** Which of the set's clusters this is. Default: the secondary is not told, and cannot tell two that began one epoch apart. */
  leader?: string | undefined
  /** The id the transport has proved. */
  secondaryId: string
  /** Name under which the log is kept for this secondary, also when the link is down. `log.release` it on revocation. */
  consumer: string
  /** What heartbeats tell of this cluster. Default: nothing. */
  report?(): Omit<SelfReport, 'cursor'>
  /** Default 250. */
  tickMs?: number
}

export interface SecondaryHandle {
  status(): PrimaryStatus
  /** What `view` answers has changed: the secondary is brought in line. */
  viewChanged(): void
  /** Calls the secondary's application. Rejects with `LinkError`. */
  request(method: string, body: Plain, options?: RequestOptions): Promise<Plain>
  /** Tells the secondary why and ends the link. */
  close(reason?: string): void
  /** Resolves with the reason once the link has ended. */
  readonly ended: Promise<string>
}

export function serveSecondary(components: SenderComponents, options: SenderOptions): SecondaryHandle {
  const { store, link, view, runtime = systemRuntime, clock = runtime, onRequest = refuseRequests } = components
  const { log, forest } = store
  const { kind, clusterId, leader, secondaryId, consumer, report = nothingToReport } = options
  const session = primarySession({ secondaryId, kind, clusterId, leader, view, forest, log, report }, options)
  const calls = linkCalls((event) => step(event), onRequest, runtime)
  const reads = logReads(log, runtime)
  let why = ''

  /** What fails, be it a read or the caller's view, ends the link: the secondary dials again and the session starts anew. */
  const fail = (error: unknown): void => {
    why ||= `serving the secondary failed: ${(error as Error).message}`
    link.close(why)
  }

  const carryOut = (effects: () => PrimaryEffect[]): void => {
    try {
      for (const effect of effects()) perform(effect)
    } catch (error) {
      fail(error)
    }
  }
  const step = (event: PrimaryEvent): void => carryOut(() => session.step(event, clock.now()))

  const feed = (event: Promise<PrimaryEvent>): void => {
    event.then(step, fail)
  }

  const perform = (effect: PrimaryEffect): void => {
    switch (effect.type) {
      case 'send':
        link.send(effect.message)
        break
      case 'retain':
        log.retain(consumer, effect.index)
        break
      case 'read-digest':
        feed(log.digestAt(effect.index).then((digest) => ({ type: 'digest', id: effect.id, digest })))
        break
      case 'read-log':
        feed(reads.read(effect.after, effect.maxBytes).then((result) => ({ type: 'records', id: effect.id, result })))
        break
      case 'read-entries':
        feed(
          store
            .readEntries(effect.partition, effect.keyIds)
            .then((entries) => ({ type: 'entries', id: effect.id, entries })),
        )
        break
      case 'call':
        calls.onCall(effect)
        break
      case 'result':
        calls.onResult(effect)
        break
      case 'close':
        why ||= effect.message
        link.close(effect.message)
        break
    }
  }

  const unsubscribe = log.onAppend(() => step({ type: 'appended' }))
  const stopTicking = runtime.every(options.tickMs ?? 250, () => carryOut(() => session.tick(clock.now())))

  const run = async (): Promise<string> => {
    try {
      for await (const message of link.messages) step({ type: 'message', message })
    } catch (error) {
      why ||= (error as Error).message
    }
    stopTicking()
    unsubscribe()
    link.close(why)
    const { error } = await link.closed
    why ||= error?.message ?? 'the link closed'
    step({ type: 'closed' })
    return why
  }

  return {
    ended: run(),
    status: () => session.status(clock.now()),
    viewChanged: () => step({ type: 'viewChanged' }),
    request: (method, body, requestOptions) => calls.request(method, body, requestOptions),
    close(reason = 'the primary is closing down or changing its role') {
      why ||= reason
      link.send({ type: 'refuse', code: 'shutdown', message: reason })
      link.close(reason)
    },
  }
}
