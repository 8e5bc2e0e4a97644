/** A standby's side: a few connections to whichever node leads, requests sent over them, and what becomes of those it loses. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { activeNodeName, type IssuedCertificate, issueStandby } from '@lockstep/bootstrap'
import { ALPN, dialCluster } from '@lockstep/replication-transport'
import { type Clock, CoreError, type Log } from '../contracts.ts'
import type { Meter } from '../metrics/meter.ts'
import { type ForwardingLink, forwardingLink, type Outcome } from './forwarding-link.ts'
import { type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from './http.ts'
import type { Leader, LeaderWatch } from './leader-watch.ts'
import { ECHO, encodeAbout, encodeRequest, FORWARD, type NodeAbout, parseAnswer } from './wire.ts'

export interface ForwardingClient {
  /**
   * The active node's answer, or the URL of the active node when it takes no forwarded requests or cannot be reached. Rejects with
   * CORE_STANDBY when nobody leads for a while (nothing was done), CORE_UNAVAILABLE when too many requests wait or the answer was lost.
   * A request is sent twice only when the node it was sent to first surely did nothing.
   */
  forward(request: ForwardedRequest, options?: ForwardOptions): Promise<ForwardedAnswer | { redirect: string }>
  /** To be called every so often while the node stands by: keeps a connection ready, and gives up those to a former leader. */
  keep(): Promise<void>
  /** ms since the epoch of the last echo that was answered; 0 = none since the node stands by. */
  lastEcho(): number
  /** For a node that stands by no longer: closes the connections once what was sent over them is answered, at the latest after a while. */
  retire(reason: string): void
  /** Closes them at once; more requests open others. */
  close(reason: string): void
}

export interface ForwardingClientComponents {
  watch: LeaderWatch
  about: NodeAbout
  standsBy(): boolean
  /** Answers where this node leads by now. */
  here(request: ForwardedRequest): Promise<ForwardedAnswer>
  /** Default: `dialCluster`. */
  dial?: typeof dialCluster
  /** How long a former leader may answer what was sent to it, ms. Default 3000. */
  graceMs?: number
  clock: Clock
  log: Log
  meter?: Meter | undefined
}

export const NO_LEADER = 'local node not active but active cluster node not found'
const BUSY = 'too many requests wait to be forwarded to the active node'
const LOST = 'the active node was lost before it answered: whether the request was carried out is not known'

const LINKS = 2
/** Requests waiting on the one link above which another is opened. */
const LINK_BUSY = 8
const MAX_WAITING = 1024
const MAX_WAITING_BYTES = 256 * 1024 * 1024
const DIAL_MS = 5000
/** After a failure, before the address is dialled again. */
const DIAL_PAUSE_MS = 1000
const ECHO_MS = 5000
/** An echo unanswered for this long ends its connection. */
const SILENCE_MS = 30_000
/** Between two looks for somebody who leads, while a request is held. */
const PAUSE_MS = 100
const HOLD_MS = 5000
/** A look for who leads is waited for this long, even by a request that is not held. */
const LOOK_MS = 1000

export interface ForwardOptions {
  /** How long the request waits for a node that leads, ms. Default 5000. */
  holdMs?: number
}

export function forwardingClient(components: ForwardingClientComponents): ForwardingClient {
  const { watch, about, standsBy, here, clock, log, meter, dial = dialCluster, graceMs = 3000 } = components
  const id = randomUUID()
  let links: ForwardingLink[] = []
  /** Whose links they are. */
  let term = ''
  let known: Leader | undefined
  let dialing: { term: string; link: Promise<ForwardingLink> } | undefined
  let failed: { term: string; at: number } | undefined
  let certificate: { ca: string; issued: IssuedCertificate } | undefined
  let waiting = 0
  let waitingBytes = 0
  let echoed = { sent: 0, answered: 0 }
  let generation = 0

  /** No more is sent over them; a former leader may still answer what it has, for a while. */
  function retire(reason: string, waitMs = graceMs): void {
    generation++
    for (const link of links) {
      if (link.waiting === 0 || waitMs === 0) link.close(reason)
      else setTimeout(() => link.close(reason), waitMs).unref()
    }
    links = []
    echoed = { sent: 0, answered: 0 }
  }

  function follow(leader: Leader): void {
    if (term === leader.term) return
    retire('another node leads')
    term = leader.term
    failed = undefined
  }

  async function credentials({ trust }: Leader): Promise<IssuedCertificate> {
    if (certificate?.ca !== trust.fingerprint) {
      certificate = { ca: trust.fingerprint, issued: await issueStandby(trust.ca, { id, now: clock.now() }) }
    }
    return certificate.issued
  }

  async function connect(leader: Leader): Promise<ForwardingLink> {
    const begun = generation
    try {
      const own = await credentials(leader)
      const link = await dial({
        addresses: [leader.clusterAddress],
        servername: activeNodeName(leader.term),
        alpn: ALPN.requestForwarding,
        ...{ ca: leader.trust.ca.certificatePem, cert: own.certificatePem, key: own.privateKeyPem },
        timeoutMs: DIAL_MS,
      })
      const opened = forwardingLink(link)
      if (begun !== generation) {
        opened.close('another node leads')
        throw new Error('another node leads')
      }
      links.push(opened)
      void link.closed.then(() => {
        links = links.filter((other) => other !== opened)
      })
      return opened
    } catch (error) {
      if (begun === generation && failed?.term !== leader.term) {
        log.warn('the active node cannot be reached for forwarding, requests are redirected', {
          ...{ address: leader.clusterAddress, error: (error as Error).message },
        })
      }
      if (term === leader.term) failed = { term, at: clock.now() }
      throw error
    }
  }

  function open(leader: Leader): Promise<ForwardingLink> {
    // A dial to a former leader may take its time.
    if (dialing?.term === leader.term) return dialing.link
    const begun = { term: leader.term, link: connect(leader) }
    dialing = begun
    const over = (): void => {
      if (dialing === begun) dialing = undefined
    }
    begun.link.then(over, over)
    return begun.link
  }

  /** Undefined when there is no way to it. */
  async function linkTo(leader: Leader): Promise<ForwardingLink | undefined> {
    follow(leader)
    const usable = links.filter((link) => link.open)
    const [best] = usable.sort((one, other) => one.waiting - other.waiting)
    const pausing = failed?.term === leader.term && clock.now() - failed.at < DIAL_PAUSE_MS
    if (best !== undefined) {
      if (best.waiting >= LINK_BUSY && usable.length < LINKS && !pausing) open(leader).catch(() => {})
      return best
    }
    if (pausing) return undefined
    return open(leader).catch(() => undefined)
  }

  /** What is open leads to the node last heard of; that it leads no longer shows within a second, or when it says so. */
  async function leaderNow(since: number | undefined, until: number): Promise<Leader | undefined> {
    if (since === undefined && known !== undefined && links.some((link) => link.open)) return known
    // A storage that cannot be asked, or not in time, knows nobody.
    const told = watch.current(since === undefined ? {} : { since }).catch(() => undefined)
    const given = new AbortController()
    const late = sleep(Math.max(LOOK_MS, until - clock.now()), undefined, given).catch(() => undefined)
    known = await Promise.race([told, late])
    given.abort()
    return known
  }

  async function send(
    request: ForwardedRequest,
    { holdMs = HOLD_MS }: ForwardOptions,
  ): Promise<ForwardedAnswer | { redirect: string }> {
    const until = Math.min(clock.now() + holdMs, request.deadline)
    let since: number | undefined
    for (let attempt = 0; ; attempt++, since = clock.now()) {
      if (attempt > 1) {
        if (clock.now() + PAUSE_MS >= until) throw new CoreError('CORE_STANDBY', NO_LEADER)
        await sleep(PAUSE_MS)
      }
      if (!standsBy()) return here(request)
      const leader = await leaderNow(since, until)
      if (leader === undefined) continue
      const redirect = { redirect: leader.apiAddress }
      if (leader.clusterAddress === '' || request.body.length > HTTP_LIMITS.bodyBytes) return redirect
      const link = await linkTo(leader)
      if (link === undefined) {
        if (attempt > 0) return redirect
        continue
      }
      const begun = clock.now()
      const outcome: Outcome = await link.ask(FORWARD, encodeRequest(request, begun))
      if (outcome === 'not-taken') continue
      meter?.observe('ha.rpc.client.forward', clock.now() - begun)
      if (typeof outcome !== 'object') meter?.count('ha.rpc.client.forward.errors')
      if (outcome === 'lost') throw new CoreError('CORE_UNAVAILABLE', LOST)
      if (outcome === 'failed') throw new CoreError('CORE_INTERNAL', 'internal error')
      return parseAnswer(outcome.body)
    }
  }

  async function echo(link: ForwardingLink): Promise<void> {
    echoed.sent = clock.now()
    const of = echoed
    const outcome = await link.ask(ECHO, encodeAbout(about))
    if (typeof outcome === 'object') {
      of.answered = clock.now()
      meter?.observe('ha.rpc.client.echo', of.answered - of.sent)
    } else {
      meter?.count('ha.rpc.client.echo.errors')
      // Lost with its connection: another one is tried at once.
      of.sent = of.answered
    }
  }

  return {
    async forward(request, options = {}) {
      const { length } = request.body
      if (waiting >= MAX_WAITING || waitingBytes + length > MAX_WAITING_BYTES) {
        throw new CoreError('CORE_UNAVAILABLE', BUSY)
      }
      waiting++
      waitingBytes += length
      try {
        return await send(request, options)
      } finally {
        waiting--
        waitingBytes -= length
      }
    },
    async keep() {
      const leader = await watch.current()
      known = leader
      if (leader === undefined || leader.clusterAddress === '') return retire('nobody leads')
      const link = await linkTo(leader)
      if (link === undefined) return
      const silent = echoed.sent > echoed.answered
      if (silent && clock.now() - echoed.sent > SILENCE_MS) return retire('the active node does not answer', 0)
      if (!silent && clock.now() - echoed.answered >= ECHO_MS) void echo(link)
    },
    lastEcho: () => echoed.answered,
    retire,
    close: (reason) => retire(reason, 0),
  }
}
