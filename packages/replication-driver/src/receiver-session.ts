/** Runs the secondary's session of one link over a logged store. */
import {
  type ApplyEffect,
  encodePosition,
  type Link,
  type LinkKind,
  type Plain,
  type Position,
  parsePartitionId,
  type SecondaryEffect,
  type SecondaryEvent,
  type SecondaryOptions,
  type SecondaryStatus,
  type SelfReport,
  secondarySession,
  type WalOperation,
} from '@lockstep/replication'
import { linkCalls, type OnRequest, type RequestOptions } from './link-calls.ts'
import type { AppliedEntry, LoggedStore } from './logged-store.ts'
import type { Runtime } from './runtime.ts'

export interface ReceiverSessionComponents {
  store: Pick<LoggedStore, 'forest' | 'keysOf' | 'apply'>
  link: Link
  clock: { now(): number }
  runtime: Runtime
  accept(entry: WalOperation): true | string
  report(): Omit<SelfReport, 'cursor'>
  onRequest: OnRequest
  /** Called when the session may show a new status. */
  onProgress(): void
}

export interface ReceiverSessionOptions extends SecondaryOptions {
  kind: LinkKind
  secondaryId: string
  /** Key of class ignored under which the position is stored. */
  positionKey: string
  tickMs?: number
}

export interface ReceiverSession {
  status(): SecondaryStatus
  compare(reason: string): void
  request(method: string, body: Plain, options?: RequestOptions): Promise<Plain>
  close(reason: string): void
  /** Resolves with the reason once the link has ended and no write is under way any more. */
  readonly ended: Promise<string>
}

export function receiverSession(
  components: ReceiverSessionComponents,
  stored: Position,
  options: ReceiverSessionOptions,
): ReceiverSession {
  const { store, link, clock, runtime, accept, report, onProgress } = components
  const { kind, secondaryId, positionKey } = options
  const session = secondarySession({ secondaryId, kind, forest: store.forest, accept, report }, stored, options)
  const calls = linkCalls((event) => step(event), components.onRequest, runtime)
  let why = ''
  let writing: Promise<void> = Promise.resolve()

  const fail = (error: unknown): void => {
    why ||= `following the primary failed: ${(error as Error).message}`
    link.close(why)
  }

  const carryOut = (effects: () => SecondaryEffect[]): void => {
    try {
      for (const effect of effects()) perform(effect)
      onProgress()
    } catch (error) {
      fail(error)
    }
  }
  const step = (event: SecondaryEvent): void => carryOut(() => session.step(event, clock.now()))

  const apply = async ({ id, deletions, entries, position }: ApplyEffect): Promise<void> => {
    const changes = deletions.length === 0 ? entries : [...(await entriesToDelete(deletions)), ...entries]
    await store.apply(changes, new Map([[positionKey, encodePosition(position)]]))
    step({ type: 'applied', id })
  }

  const entriesToDelete = async (deletions: ApplyEffect['deletions']): Promise<AppliedEntry[]> => {
    const entries: AppliedEntry[] = []
    for (const { partition: id, keyIds } of deletions) {
      const partition = parsePartitionId(id)!
      for (const key of await store.keysOf(id, keyIds)) {
        if (key !== undefined) entries.push({ partition, mountPath: '', key, value: undefined })
      }
    }
    return entries
  }

  const perform = (effect: SecondaryEffect): void => {
    switch (effect.type) {
      case 'send':
        link.send(effect.message)
        break
      case 'apply':
        writing = apply(effect).catch(fail)
        break
      case 'call':
        calls.onCall(effect)
        break
      case 'result':
        calls.onResult(effect)
        break
      case 'close':
        why ||= effect.byPeer ? `the primary refused (${effect.code}): ${effect.message}` : effect.message
        link.close(effect.message)
        break
    }
  }

  const run = async (): Promise<string> => {
    const stopTicking = runtime.every(options.tickMs ?? 250, () => carryOut(() => session.tick(clock.now())))
    try {
      step({ type: 'start' })
      for await (const message of link.messages) step({ type: 'message', message })
    } catch (error) {
      why ||= (error as Error).message
    }
    stopTicking()
    link.close(why)
    const { error } = await link.closed
    why ||= error?.message ?? 'the link closed'
    step({ type: 'closed' })
    await writing
    return why
  }

  return {
    ended: run(),
    status: () => session.status(clock.now()),
    compare: (reason) => step({ type: 'compare', reason }),
    request: (method, body, requestOptions) => calls.request(method, body, requestOptions),
    close(reason) {
      why ||= reason
      link.close(reason)
    },
  }
}
