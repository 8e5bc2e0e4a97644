/**
 * The secondary's end of one link, as a value: events in, effects out. It applies the log batch by batch together with its
 * place in it, checks the primary's guards, and walks a Merkle diff whenever the two ends cannot be brought together by the log.
 */
import { calls } from '../calls.ts'
import { heartbeat } from '../heartbeat.ts'
import {
  type Message,
  type RefusalCode,
  SELF_VERIFYING_SINCE,
  SKETCHES_SINCE,
  type Wal,
  type Welcome,
} from '../messages.ts'
import { hashKeyOf } from '../sketch/item-hash.ts'
import type { Cursor, WalOperation } from '../types.ts'
import { spokenVersions } from '../version-range.ts'
import { sameCursor, sameDigest } from '../wal/cursor.ts'
import { acceptance } from './acceptance.ts'
import type {
  SecondaryComponents,
  SecondaryEffect,
  SecondaryEvent,
  SecondaryOptions,
  SecondarySession,
  SecondaryState,
} from './contract.ts'
import { SKETCHED } from './diff-sketches.ts'
import { type Changes, type DiffWalker, diffWalker } from './diff-walker.ts'
import { guardWatch } from './guard-watch.ts'
import { whyFenced, whyRefused } from './handshake.ts'
import { lagMeter } from './lag-meter.ts'
import type { Position } from './position.ts'
import { type Repair, repairLog } from './repair-log.ts'
import { describeFault, type StreamCheck, type StreamFault, streamCheck } from './stream-check.ts'
import { type WalQueue, walQueue } from './wal-queue.ts'

type Phase =
  | { name: 'new' }
  | { name: 'handshake' }
  | { name: 'stream'; queue: WalQueue; check: StreamCheck }
  /** A diff was announced or asked for, and has not begun. */
  | { name: 'waiting' }
  | { name: 'diff'; walker: DiffWalker; from: Cursor; view: string; ready: boolean }
  | { name: 'closed' }

export function secondarySession(
  components: SecondaryComponents,
  stored: Position,
  given: SecondaryOptions = {},
): SecondarySession {
  const applyBytes = given.applyBytes ?? 2 * 1024 * 1024
  const fetches = Math.min(given.fetches ?? 12, 32)
  const { forest, kind, secondaryId } = components
  const speaks = spokenVersions(given.protocol)
  const accepts = acceptance(components)
  const beat = heartbeat({ intervalMs: given.pingIntervalMs ?? 1000, silenceMs: given.silenceMs ?? 15_000 })
  const rpc = calls()
  const lag = lagMeter()
  const guards = guardWatch()
  const repairs = repairLog(given.before?.lastRepair)
  let phase: Phase = { name: 'new' }
  let position = stored
  let protocol = 0
  let streamFaults = given.before?.streamFaults ?? 0
  let round = 0
  /** Whether the last diff learned from sketches, and whether such a diff once did not help. */
  let sketched = false
  let sketchesFailed = false
  let diffReason = ''
  let lastRemoteWal = 0
  /** What the newest guard that differed leaves in doubt. */
  let differing: Pick<Repair, 'from' | 'to' | 'reason'> = { from: 0, to: 0, reason: 'guard' }
  let lastId = 0
  let applying: { id: number; position: Position; then(now: number): SecondaryEffect[] } | undefined

  const close = (code: RefusalCode | 'silence', message: string, byPeer = false): SecondaryEffect[] => {
    if (phase.name === 'closed') return []
    phase = { name: 'closed' }
    return [{ type: 'close', code, message, byPeer }, ...rpc.closed()]
  }

  const refuse = (code: RefusalCode, message: string): SecondaryEffect[] => [
    { type: 'send', message: { type: 'refuse', code, message } },
    ...close(code, message),
  ]

  const apply = (
    next: Position,
    changes: { deletions: Changes['deletions']; entries: readonly WalOperation[] },
    then: (now: number) => SecondaryEffect[],
  ): SecondaryEffect => {
    applying = { id: ++lastId, position: next, then }
    return { type: 'apply', id: lastId, ...changes, position: next }
  }

  // ---------------------------------------------------------------- handshake

  const hello = (): SecondaryEffect[] => {
    phase = { name: 'handshake' }
    const { clusterId, cursor, epoch, view } = position
    return [
      {
        type: 'send',
        message: { type: 'hello', protocol: speaks, kind, secondaryId, clusterId, cursor, epoch, view },
      },
    ]
  }

  const onWelcome = (message: Welcome, now: number): SecondaryEffect[] => {
    if (phase.name !== 'handshake') return refuse('protocol', 'an unexpected welcome')
    const refusal = whyRefused(message, position, speaks)
    if (refusal) return refuse(refusal.code, refusal.message)
    const { epoch, index } = message.head
    protocol = message.protocol
    lag.heard(index, now)
    if (message.mode === 'diff') {
      phase = { name: 'waiting' }
    } else {
      repairs.synced(now)
      phase = newStream(position.cursor!)
    }
    lag.applied(position.cursor?.index ?? 0)
    const { leader: followed, ...before } = position
    const leader = message.leader ?? (epoch === position.epoch ? followed : undefined)
    if (epoch === position.epoch && message.clusterId === position.clusterId && leader === followed) return []
    const next: Position = {
      ...before,
      clusterId: message.clusterId,
      epoch,
      ...(leader === undefined ? {} : { leader }),
    }
    // From now on a primary of an earlier epoch is stale, even if this link breaks at once.
    return [apply(next, { deletions: [], entries: [] }, () => [])]
  }

  const verifying = () => protocol >= SELF_VERIFYING_SINCE

  const newStream = (from: Cursor): Phase => {
    return { name: 'stream', queue: walQueue(applyBytes), check: streamCheck(from, verifying()) }
  }

  // ---------------------------------------------------------------- streaming

  const onWal = (message: Wal, now: number): SecondaryEffect[] => {
    if (phase.name === 'waiting') return [] // sent before the primary heard that we want a diff
    if (verifying() && message.round < round) return [] // late: all of it is older than the diff that began since
    if (phase.name !== 'stream' || message.round !== round) return refuse('protocol', 'an unexpected batch of the log')
    const { received } = phase.check
    const fault = phase.check.next(message)
    if (fault) return onFault(fault, now)
    if (message.cursor.index < received.index) return refuse('protocol', 'the log ran backwards')
    for (const group of message.groups) {
      const refusal = accepts.refusal(group)
      if (refusal) return refuse('not-accepted', refusal)
    }
    lag.heard(Math.max(message.head, message.cursor.index), now)
    if (!phase.queue.push(message)) return refuse('protocol', 'far more of the log than was acknowledged')
    return pump(now)
  }

  /** Nothing of the batch is used, nor of those that wait: all they bring is older than what the diff will compare. */
  const onFault = (fault: StreamFault, now: number): SecondaryEffect[] => {
    streamFaults++
    return repair(fault, describeFault(fault), now)
  }

  const applyBatch = (queue: WalQueue, now: number): SecondaryEffect[] => {
    const batch = queue.take()
    if (batch === undefined) return []
    const { last, operations } = batch
    const onDurable = (now: number): SecondaryEffect[] => {
      lastRemoteWal = last.cursor.index
      lag.applied(last.cursor.index)
      // A round that began meanwhile has made this batch old news.
      if (last.round !== round || phase.name !== 'stream') return []
      const ack: SecondaryEffect = { type: 'send', message: { type: 'ack', round, cursor: last.cursor } }
      return [ack, ...checkGuard(last, now)]
    }
    // A proof without news: nothing to write.
    if (operations.length === 0 && position.cursor && sameCursor(position.cursor, last.cursor)) {
      return [...onDurable(now), ...pump(now)]
    }
    const next = { ...position, cursor: last.cursor, epoch: Math.max(position.epoch, last.cursor.epoch) }
    return [apply(next, { deletions: [], entries: operations }, onDurable)]
  }

  const checkGuard = ({ guard, cursor }: Wal, now: number): SecondaryEffect[] => {
    if (guard === null) return []
    if (sameDigest(guard, forest.composedRoot(accepts.inScope))) {
      guards.matched(cursor)
      sketched = false
      return []
    }
    const since = guards.verified ?? given.before?.verified
    differing = { from: since?.index ?? 0, to: cursor.index, reason: 'guard' }
    const known = since ? `, with which it was last equal at index ${since.index}` : ''
    // The last diff should have seen to it. The next one relies on the trie alone.
    sketchesFailed ||= sketched
    const due = guards.differed(now)
    return due ? repair(differing, `the state at index ${cursor.index} differs from the primary's${known}`, now) : []
  }

  const repair = (what: Pick<Repair, 'from' | 'to' | 'reason'>, why: string, now: number): SecondaryEffect[] => {
    repairs.begin(what, now)
    phase = { name: 'waiting' }
    guards.diffing()
    return [{ type: 'send', message: { type: 'diff-request', round, reason: why } }]
  }

  const compareAll = (why: string, now: number): SecondaryEffect[] => {
    return repair({ from: 0, to: position.cursor?.index ?? 0, reason: 'asked' }, why, now)
  }

  // --------------------------------------------------------------------- diff

  const onDiffBegin = (message: Extract<Message, { type: 'diff-begin' }>, now: number): SecondaryEffect[] => {
    const expected = phase.name === 'waiting' || phase.name === 'stream' || phase.name === 'diff'
    if (!expected || message.round !== round + 1) return refuse('protocol', 'an unexpected diff')
    const fenced = whyFenced(message.from.epoch, position)
    if (fenced) return refuse(fenced.code, fenced.message)
    round = message.round
    diffReason = message.reason
    lag.heard(message.from.index, now)
    const { sketches: wanted = true } = given
    const sketching = protocol >= SKETCHES_SINCE && wanted !== false && !sketchesFailed
    const sizes = typeof wanted === 'object' ? wanted : SKETCHED
    const sketches = sketching ? { key: hashKeyOf(round, message.from), sizes } : undefined
    const walker = diffWalker({ forest, acceptance: accepts, differed: repairs.differed }, { round, fetches, sketches })
    phase = { name: 'diff', walker, from: message.from, view: message.view, ready: false }
    return pump(now)
  }

  const onAnswer = (
    message: Extract<Message, { type: 'roots' | 'nodes' | 'sketch' | 'entries' }>,
    now: number,
  ): SecondaryEffect[] => {
    if (message.round !== round || phase.name !== 'diff') return refuse('protocol', `unexpected ${message.type}`)
    const violation = phase.walker.onAnswer(message)
    return violation ? refuse(violation.code, violation.message) : pump(now)
  }

  const pumpDiff = (diff: Extract<Phase, { name: 'diff' }>): SecondaryEffect[] => {
    const { walker, from, view } = diff
    // What was being written when the round began, for instance a batch of the log, is older than what will be compared.
    diff.ready ||= applying === undefined
    if (!diff.ready) return []
    const effects: SecondaryEffect[] = walker.requests().map((message) => ({ type: 'send', message }))
    if (applying) return effects
    const changes = walker.takeChanges()
    if (changes) {
      // Until the round is done the stored entries match no place in the log.
      effects.push(apply({ ...position, cursor: null }, changes, () => []))
    } else if (walker.done) {
      const next: Position = { ...position, cursor: from, view, epoch: Math.max(position.epoch, from.epoch) }
      effects.push(apply(next, { deletions: [], entries: [] }, (now) => endDiff(diff, now)))
    }
    return effects
  }

  const endDiff = (diff: Extract<Phase, { name: 'diff' }>, now: number): SecondaryEffect[] => {
    if (phase !== diff) return [] // another round began
    repairs.synced(now)
    sketched = diff.walker.sketched
    phase = newStream(diff.from)
    lag.applied(diff.from.index)
    return [{ type: 'send', message: { type: 'synced', round } }]
  }

  // ------------------------------------------------------------------ general

  const pump = (now: number): SecondaryEffect[] => {
    if (phase.name === 'stream') return applying ? [] : applyBatch(phase.queue, now)
    return phase.name === 'diff' ? pumpDiff(phase) : []
  }

  const onApplied = (id: number, now: number): SecondaryEffect[] => {
    if (applying?.id !== id) return []
    position = applying.position
    const { then } = applying
    applying = undefined
    const effects = then(now)
    return [...effects, ...pump(now)]
  }

  const onMessage = (message: Message, now: number): SecondaryEffect[] => {
    switch (message.type) {
      case 'ping':
        if (message.cursor) lag.heard(message.cursor.index, now)
        return [{ type: 'send', message: beat.onPing(message, now) }]
      case 'pong':
        beat.onPong(message, now)
        return []
      case 'request':
      case 'response':
        return rpc.message(message)
      case 'refuse':
        return close(message.code, message.message, true)
      case 'welcome':
        return onWelcome(message, now)
      case 'wal':
        return onWal(message, now)
      case 'diff-begin':
        return onDiffBegin(message, now)
      case 'roots':
      case 'nodes':
      case 'sketch':
      case 'entries':
        return onAnswer(message, now)
      default:
        return refuse('protocol', `a primary does not send ${message.type}`)
    }
  }

  const react = (event: SecondaryEvent, now: number): SecondaryEffect[] => {
    switch (event.type) {
      case 'start':
        return phase.name === 'new' ? hello() : []
      case 'message':
        beat.heard(now)
        return onMessage(event.message, now)
      case 'applied':
        return onApplied(event.id, now)
      case 'compare':
        return phase.name === 'stream' ? compareAll(event.reason, now) : []
      case 'closed':
        return close('shutdown', 'the link closed', true)
      default:
        return rpc.event(event)
    }
  }

  const stateOf = (): SecondaryState => {
    switch (phase.name) {
      case 'stream':
        return 'stream-wals'
      case 'waiting':
        return 'merkle-diff'
      case 'diff':
        return phase.walker.syncing ? 'merkle-sync' : 'merkle-diff'
      default:
        return 'idle'
    }
  }

  return {
    step(event, now) {
      if (phase.name !== 'closed') return react(event, now)
      return event.type === 'request' ? rpc.event(event) : []
    },

    tick(now) {
      if (phase.name === 'closed') return []
      if (beat.silent(now)) return close('silence', 'nothing was heard from the primary')
      const ping = beat.due(now, () => ({ ...components.report(), cursor: position.cursor }))
      const effects: SecondaryEffect[] = ping ? [{ type: 'send', message: ping }] : []
      if (phase.name !== 'stream' || !guards.due(now)) return effects
      return [...effects, ...repair(differing, `${guards.failures} guards in a row differed`, now)]
    },

    status(now) {
      return {
        state: stateOf(),
        protocol,
        position,
        lastRemoteWal,
        primaryHead: lag.head,
        lagMs: lag.lagMs(now),
        verified: guards.verified,
        guardFailures: guards.failures,
        streamFaults,
        lastRepair: repairs.last,
        rounds: round,
        diffReason,
        sync: phase.name === 'diff' ? { progress: phase.walker.progress, total: phase.walker.total } : null,
        heartbeat: beat.status(now),
      }
    },
  }
}
