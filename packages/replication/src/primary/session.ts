/**
 * The primary's end of one link, as a value: events in, effects out. It owns the conversation's order (hello, then streaming
 * and diff rounds in turn); streaming and diff answers have files of their own.
 */
import { calls } from '../calls.ts'
import { heartbeat } from '../heartbeat.ts'
import { type Hello, type Message, type RefusalCode, SELF_VERIFYING_SINCE, SKETCHES_SINCE } from '../messages.ts'
import { hashKeyOf } from '../sketch/item-hash.ts'
import type { Cursor } from '../types.ts'
import { spokenVersions } from '../version-range.ts'
import { sameDigest } from '../wal/cursor.ts'
import type {
  PrimaryComponents,
  PrimaryEffect,
  PrimaryEvent,
  PrimaryOptions,
  PrimarySession,
  PrimaryStatus,
} from './contract.ts'
import { type DiffServer, diffServer } from './diff-server.ts'
import { trimmedAt, whyDiff, whyRefused, whyUnknown } from './handshake.ts'
import { shipping } from './shipping.ts'
import { type Streamer, streamer } from './streamer.ts'

type Phase =
  | { name: 'handshake' }
  /** Waiting for the digest at the secondary's cursor. */
  | { name: 'checking'; id: number; hello: Hello; cursor: Cursor }
  | { name: 'stream'; streamer: Streamer }
  | { name: 'diff'; pinned: Cursor; server: DiffServer }
  | { name: 'closed' }

export function primarySession(components: PrimaryComponents, given: PrimaryOptions = {}): PrimarySession {
  const speaks = spokenVersions(given.protocol)
  const options: Required<PrimaryOptions> = {
    protocol: speaks,
    batchBytes: given.batchBytes ?? 512 * 1024,
    windowBytes: given.windowBytes ?? 4 * 1024 * 1024,
    answerBytes: given.answerBytes ?? 256 * 1024,
    guardIntervalMs: given.guardIntervalMs ?? 30_000,
    pingIntervalMs: given.pingIntervalMs ?? 1000,
    silenceMs: given.silenceMs ?? 15_000,
  }
  const { log, view } = components
  const ships = shipping(components.kind, view)
  const beat = heartbeat({ intervalMs: options.pingIntervalMs, silenceMs: options.silenceMs })
  const rpc = calls()
  let phase: Phase = { name: 'handshake' }
  let protocol = 0
  let round = 0
  let diffReason = ''
  let acknowledged: Cursor | null = null
  let lastId = 0
  const nextId = () => ++lastId

  const close = (code: RefusalCode | 'silence', message: string, byPeer = false): PrimaryEffect[] => {
    if (phase.name === 'closed') return []
    phase = { name: 'closed' }
    return [{ type: 'close', code, message, byPeer }, ...rpc.closed()]
  }

  const refuse = (code: RefusalCode, message: string): PrimaryEffect[] => [
    { type: 'send', message: { type: 'refuse', code, message } },
    ...close(code, message),
  ]

  const startStream = (from: Cursor, now: number): PrimaryEffect[] => {
    const stream = streamer(
      { components, shipping: ships, options, round, verifying: protocol >= SELF_VERIFYING_SINCE, nextId },
      from,
    )
    phase = { name: 'stream', streamer: stream }
    return stream.pump(now)
  }

  const startDiff = (reason: string): PrimaryEffect[] => {
    round++
    diffReason = reason
    const pinned = log.head()
    const { answerBytes } = options
    const sketchKey = hashKeyOf(round, pinned)
    const server = diffServer({ components, shipping: ships, answerBytes, round, sketchKey, nextId })
    phase = { name: 'diff', pinned, server }
    return [
      // A secondary that breaks off before it has written anything can still go on from where it was.
      { type: 'retain', index: Math.min(acknowledged?.index ?? pinned.index, pinned.index) },
      { type: 'send', message: { type: 'diff-begin', round, from: pinned, view: view.id, reason } },
    ]
  }

  const welcome = (mode: 'stream' | 'diff', reason: string): PrimaryEffect => ({
    type: 'send',
    message: {
      type: 'welcome',
      protocol,
      clusterId: components.clusterId,
      head: log.head(),
      view: view.id,
      mode,
      reason,
      ...(components.leader === undefined ? {} : { leader: components.leader }),
    },
  })

  const resume = (cursor: Cursor, now: number): PrimaryEffect[] => {
    acknowledged = cursor
    return [welcome('stream', ''), ...startStream(cursor, now)]
  }

  const onHello = (hello: Hello): PrimaryEffect[] => {
    const refusal = whyRefused(hello, components, speaks)
    if (refusal) return refuse(...refusal)
    protocol = Math.min(hello.protocol.max, speaks.max)
    const reason = whyDiff(hello, components)
    if (reason !== undefined) return [welcome('diff', reason), ...startDiff(reason)]
    const cursor = hello.cursor!
    const id = nextId()
    phase = { name: 'checking', id, hello, cursor }
    // Kept from now on, so that it is still there once the digest was looked up. A place beyond this log is asked for too: who reads the digest
    // sees then whether another node has written to this log since, which nobody may follow this one behind.
    return [
      { type: 'retain', index: Math.min(cursor.index, components.log.head().index) },
      { type: 'read-digest', id, index: cursor.index },
    ]
  }

  const onDigest = (event: Extract<PrimaryEvent, { type: 'digest' }>, now: number): PrimaryEffect[] => {
    if (phase.name !== 'checking' || phase.id !== event.id) return []
    const { cursor, hello } = phase
    // Anything may have changed while the digest was looked up.
    let reason = whyDiff(hello, components)
    if (reason === undefined && !(event.digest && sameDigest(event.digest, cursor.digest))) {
      reason = event.digest
        ? `the secondary's history differs from this log at or before index ${cursor.index}`
        : whyUnknown(cursor, components)
    }
    return reason === undefined ? resume(cursor, now) : [welcome('diff', reason), ...startDiff(reason)]
  }

  const onMessage = (message: Message, now: number): PrimaryEffect[] => {
    switch (message.type) {
      case 'ping':
        return [{ type: 'send', message: beat.onPing(message, now) }]
      case 'pong':
        beat.onPong(message, now)
        return []
      case 'request':
      case 'response':
        return rpc.message(message)
      case 'refuse':
        return close(message.code, message.message, true)
      case 'hello':
        return phase.name === 'handshake' ? onHello(message) : refuse('protocol', 'a second hello')
      case 'ack':
      case 'diff-request':
      case 'get-roots':
      case 'get-nodes':
      case 'get-sketch':
      case 'get-keys':
      case 'get-subtree':
      case 'synced':
        // Left over from an earlier round: the secondary had not yet seen the new one begin.
        if (message.round < round) return []
        if (message.round > round) return refuse('protocol', 'a round that never began')
        return phase.name === 'stream' ? onStreamMessage(message, now) : onDiffMessage(message, now)
      default:
        return refuse('protocol', `a secondary does not send ${message.type}`)
    }
  }

  const onStreamMessage = (message: Message, now: number): PrimaryEffect[] => {
    if (phase.name !== 'stream') return refuse('protocol', `unexpected ${message.type}`)
    switch (message.type) {
      case 'ack':
        if (!phase.streamer.onAck(message.cursor)) return refuse('protocol', 'an acknowledgement of what was not sent')
        acknowledged = message.cursor
        return [{ type: 'retain', index: message.cursor.index }, ...phase.streamer.pump(now)]
      case 'diff-request':
        return startDiff(message.reason)
      default:
        return refuse('protocol', `unexpected ${message.type} while streaming`)
    }
  }

  const onDiffMessage = (message: Message, now: number): PrimaryEffect[] => {
    if (phase.name !== 'diff') return refuse('protocol', `unexpected ${message.type}`)
    const { server, pinned } = phase
    switch (message.type) {
      case 'get-roots':
        return server.roots(message)
      case 'get-nodes':
        return server.nodes(message)
      case 'get-sketch':
        if (protocol < SKETCHES_SINCE) return refuse('protocol', `unexpected get-sketch in version ${protocol}`)
        return server.sketch(message)
      case 'get-keys':
      case 'get-subtree':
        return server.fetch(message) ?? refuse('protocol', 'too many open fetches')
      case 'synced':
        acknowledged = pinned
        return [{ type: 'retain', index: pinned.index }, ...startStream(pinned, now)]
      default:
        return refuse('protocol', `unexpected ${message.type} during a diff`)
    }
  }

  const react = (event: PrimaryEvent, now: number): PrimaryEffect[] => {
    switch (event.type) {
      case 'message':
        beat.heard(now)
        return onMessage(event.message, now)
      case 'appended':
        return phase.name === 'stream' ? phase.streamer.pump(now) : []
      case 'viewChanged':
        return phase.name === 'stream' || phase.name === 'diff'
          ? startDiff('the paths filter or a mount it speaks of has changed')
          : []
      case 'digest':
        return onDigest(event, now)
      case 'records': {
        if (phase.name !== 'stream') return []
        // Past its cap the log gives up what a secondary still needs, even where a diff has pinned it. What is left for another
        // diff is then only what changed meanwhile.
        const effects = phase.streamer.onRecords(event, now)
        return effects === 'trimmed' ? startDiff(trimmedAt(phase.streamer.sentIndex)) : effects
      }
      case 'entries':
        return phase.name === 'diff' ? phase.server.onEntries(event) : []
      case 'closed':
        return close('shutdown', 'the link closed', true)
      default:
        return rpc.event(event)
    }
  }

  return {
    step(event, now) {
      if (phase.name !== 'closed') return react(event, now)
      return event.type === 'request' ? rpc.event(event) : []
    },

    tick(now) {
      if (phase.name === 'closed') return []
      if (beat.silent(now)) return close('silence', 'nothing was heard from the secondary')
      const ping = beat.due(now, () => ({ ...components.report(), cursor: log.head() }))
      const effects: PrimaryEffect[] = ping ? [{ type: 'send', message: ping }] : []
      return phase.name === 'stream' ? [...effects, ...phase.streamer.tick(now)] : effects
    },

    status(now): PrimaryStatus {
      const stream = phase.name === 'stream' ? phase.streamer : undefined
      return {
        state: stateOf(phase),
        protocol,
        acknowledged,
        sentIndex: stream?.sentIndex ?? acknowledged?.index ?? 0,
        inFlightBytes: stream?.inFlightBytes ?? 0,
        rounds: round,
        diffReason,
        heartbeat: beat.status(now),
      }
    },
  }
}

function stateOf(phase: Phase): PrimaryStatus['state'] {
  switch (phase.name) {
    case 'stream':
      return 'stream-wals'
    case 'diff':
      return 'merkle-diff'
    case 'closed':
      return 'closed'
    default:
      return 'handshake'
  }
}
