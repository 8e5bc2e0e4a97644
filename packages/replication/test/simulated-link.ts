/**
 * Drives a primary and a secondary session over a link whose every step (a delivery, a finished read, a finished write) is taken
 * one at a time, in any order that keeps each queue's own. Nothing here knows real time.
 */
import {
  type ApplyEffect,
  type LinkKind,
  type Message,
  type PrimaryEffect,
  type PrimaryEvent,
  type PrimaryOptions,
  type PrimarySession,
  parseMessage,
  primarySession,
  type SecondaryEffect,
  type SecondaryEvent,
  type SecondaryOptions,
  type SecondarySession,
  secondarySession,
  type View,
  type WalOperation,
} from '@lockstep/replication'
import type { ModelCluster } from './model-cluster.ts'

type Wal = Extract<Message, { type: 'wal' }>

export interface SimulatedLink {
  readonly up: boolean
  readonly primary: PrimarySession | undefined
  readonly secondary: SecondarySession | undefined
  /** Why the last link ended. */
  ended: string
  connect(now: number): void
  /** Cuts the link: what was under way on it, and reads for it, are lost. Writes that were begun finish unless `crash`. */
  cut(): void
  /** The secondary dies: writes that were begun are lost too. */
  crashSecondary(): void
  /** Queues that have a step to take. */
  ready(): SimulatedQueue[]
  take(queue: SimulatedQueue, now: number): void
  tick(now: number): void
  appended(now: number): void
  viewChanged(now: number): void
  compare(reason: string, now: number): void
  call(side: 'primary' | 'secondary', method: string, now: number): void
  /** Does to the first batch of the log that is under way what a link must never do. False when there is none (or no second). */
  mangle(how: Mangling): boolean
}

/** `swap` with the batch behind it; `damage` changes one value or key, or, where there is none, the cursor. */
export type Mangling = 'drop' | 'repeat' | 'swap' | 'damage'

export type SimulatedQueue = 'to primary' | 'to secondary' | 'primary reads' | 'secondary writes'

export interface SimulatedLinkOptions {
  kind: LinkKind
  secondaryId: string
  clusterId?: string
  view: View
  accept?: (entry: WalOperation) => true | string
  primary?: PrimaryOptions
  secondary?: SecondaryOptions
  /** Sees every message as it is sent; may throw. */
  onSend?: (from: 'primary' | 'secondary', message: Message) => void
  onEffect?: (side: 'primary' | 'secondary', effect: PrimaryEffect | SecondaryEffect) => void
  rewriteHello?: (hello: Message) => Message
  /** A primary that says something else. */
  rewriteAnswer?: (message: Message) => Message
}

export function simulatedLink(
  clusters: { primary: ModelCluster; secondary: ModelCluster },
  options: SimulatedLinkOptions,
): SimulatedLink {
  const queues = {
    'to primary': [] as Message[],
    'to secondary': [] as Message[],
    'primary reads': [] as (() => PrimaryEvent)[],
    'secondary writes': [] as ApplyEffect[],
  }
  let primary: PrimarySession | undefined
  let secondary: SecondarySession | undefined
  const report = () => ({ canary: 0, addresses: [], apiAddress: '' })

  const down = (why: string) => {
    if (!primary) return
    primary = undefined
    secondary = undefined
    link.ended = why
    queues['to primary'] = []
    queues['to secondary'] = []
    queues['primary reads'] = []
  }

  const stepPrimary = (event: PrimaryEvent, now: number) => {
    for (const effect of primary?.step(event, now) ?? []) onPrimary(effect, now)
  }
  const stepSecondary = (event: SecondaryEvent, now: number) => {
    for (const effect of secondary?.step(event, now) ?? []) onSecondary(effect, now)
  }

  const onPrimary = (effect: PrimaryEffect, now: number) => {
    options.onEffect?.('primary', effect)
    const reads = queues['primary reads']
    switch (effect.type) {
      case 'send':
        options.onSend?.('primary', effect.message)
        queues['to secondary'].push(overTheWire(options.rewriteAnswer?.(effect.message) ?? effect.message))
        break
      case 'retain':
        clusters.primary.retain(options.secondaryId, effect.index)
        break
      case 'read-digest':
        reads.push(() => ({ type: 'digest', id: effect.id, digest: clusters.primary.digestAt(effect.index) }))
        break
      case 'read-log':
        reads.push(() => {
          return { type: 'records', id: effect.id, result: clusters.primary.read(effect.after, effect.maxBytes) }
        })
        break
      case 'read-entries':
        reads.push(() => {
          const entries = effect.keyIds.map((keyId) => clusters.primary.entryOf(effect.partition, keyId))
          return { type: 'entries', id: effect.id, entries }
        })
        break
      case 'call':
        stepPrimary({ type: 'answer', id: effect.id, body: `answer to ${effect.method}`, error: null }, now)
        break
      case 'close':
        // What was sent before arrives; the secondary hears of the end from the refusal.
        primary = undefined
        link.ended = `${effect.code}: ${effect.message}`
        if (effect.byPeer) down(link.ended)
        break
    }
  }

  const onSecondary = (effect: SecondaryEffect, now: number) => {
    options.onEffect?.('secondary', effect)
    switch (effect.type) {
      case 'send': {
        options.onSend?.('secondary', effect.message)
        const message = overTheWire(effect.message)
        const rewritten = message.type === 'hello' && options.rewriteHello ? options.rewriteHello(message) : message
        queues['to primary'].push(rewritten)
        break
      }
      case 'apply':
        queues['secondary writes'].push(effect)
        break
      case 'call':
        stepSecondary({ type: 'answer', id: effect.id, body: `answer to ${effect.method}`, error: null }, now)
        break
      case 'close':
        down(`${effect.code}: ${effect.message}`)
        break
    }
  }

  const finishWrite = (effect: ApplyEffect, now: number) => {
    clusters.secondary.apply(effect.deletions, effect.entries, effect.position)
    stepSecondary({ type: 'applied', id: effect.id }, now)
  }

  const link: SimulatedLink = {
    ended: '',
    get up() {
      return secondary !== undefined
    },
    get primary() {
      return primary
    },
    get secondary() {
      return secondary
    },
    connect(now) {
      // A restarted driver first waits for the writes of the link before.
      for (const effect of queues['secondary writes'].splice(0)) finishWrite(effect, now)
      const { kind, secondaryId, clusterId = 'set', view, accept = () => true } = options
      const log = { head: clusters.primary.head, oldest: clusters.primary.oldest }
      primary = primarySession(
        { secondaryId, kind, clusterId, view, forest: clusters.primary.forest, log, report },
        options.primary,
      )
      secondary = secondarySession(
        { secondaryId, kind, forest: clusters.secondary.forest, accept, report },
        clusters.secondary.position,
        options.secondary,
      )
      stepSecondary({ type: 'start' }, now)
    },
    cut: () => down('cut'),
    crashSecondary() {
      down('crash')
      queues['secondary writes'] = []
    },
    ready: () => (Object.keys(queues) as SimulatedQueue[]).filter((name) => queues[name].length > 0),
    take(queue, now) {
      switch (queue) {
        case 'to primary':
          stepPrimary({ type: 'message', message: queues[queue].shift()! }, now)
          break
        case 'to secondary':
          stepSecondary({ type: 'message', message: queues[queue].shift()! }, now)
          break
        case 'primary reads':
          stepPrimary(queues[queue].shift()!(), now)
          break
        case 'secondary writes':
          finishWrite(queues[queue].shift()!, now)
          break
      }
    },
    tick(now) {
      for (const effect of primary?.tick(now) ?? []) onPrimary(effect, now)
      for (const effect of secondary?.tick(now) ?? []) onSecondary(effect, now)
    },
    appended: (now) => stepPrimary({ type: 'appended' }, now),
    viewChanged: (now) => stepPrimary({ type: 'viewChanged' }, now),
    compare: (reason, now) => stepSecondary({ type: 'compare', reason }, now),
    call(side, method, now) {
      const event = { type: 'request', id: 1, method, body: null } as const
      if (side === 'primary') stepPrimary(event, now)
      else stepSecondary(event, now)
    },
    mangle(how) {
      const queue = queues['to secondary']
      const [first, second] = queue.flatMap((message, at) => (message.type === 'wal' ? [at] : []))
      if (first === undefined || (how === 'swap' && second === undefined)) return false
      const message = queue[first] as Wal
      if (how === 'drop') queue.splice(first, 1)
      if (how === 'repeat') queue.splice(first, 0, overTheWire(message))
      if (how === 'swap') [queue[first], queue[second!]] = [queue[second!]!, message]
      if (how === 'damage') damage(message)
      return true
    },
  }
  return link
}

function damage({ groups, cursor }: Wal): void {
  const group = groups.find(({ keys }) => keys.length > 0)
  const value = group?.values.find((each) => each !== null && each.length > 0)
  if (value) value[value.length - 1]! ^= 1
  else if (group) group.keys[0] += '!'
  else cursor.digest[0]! ^= 1
}

/** A copy that shares nothing with the sender, checked like anything that comes from outside. */
function overTheWire(message: Message): Message {
  return parseMessage(structuredClone(message))
}
