/** The active node's side: takes whole requests from its standbys over the cluster port, and hears that they live. */
import { activeNodeName, issueActiveNode } from '@lockstep/bootstrap'
import type { Link, Message, Plain } from '@lockstep/replication'
import { ALPN, type ClusterListener, type ProtocolRegistration } from '@lockstep/replication-transport'
import { type Clock, CoreError, type Log } from '../contracts.ts'
import { type ForwardedAnswer, type ForwardedRequest, HTTP_LIMITS } from './http.ts'
import type { NodeTrust } from './node-trust.ts'
import { sendQueue } from './send-queue.ts'
import {
  CLOSING,
  ECHO,
  encodeAnswer,
  FAILED,
  FORWARD,
  NOT_ACTIVE,
  type NodeAbout,
  parseAbout,
  parseRequest,
} from './wire.ts'

export interface StandbyEcho extends NodeAbout {
  /** ms since the epoch. */
  at: number
}

export interface ForwardingServer {
  /** Of those that have been heard of, by cluster address. */
  echoes(): StandbyEcho[]
  /** Takes no more requests, answers those it has taken for up to a second, and closes. */
  stop(): Promise<void>
}

export interface ForwardingServerComponents {
  listener: Pick<ClusterListener, 'register'>
  trust: NodeTrust
  /** Rejects with CORE_STANDBY when it has not begun with the request. */
  handle(request: ForwardedRequest): Promise<ForwardedAnswer>
  /** What an echo is answered with. */
  modes(): Promise<{ performance: string; dr: string }>
  clock: Clock
  log: Log
}

type Request = Extract<Message, { type: 'request' }>

/** Requests of one link under way; the link is read on when one is done. */
const MAX_UNDER_WAY = 256
const MAX_ECHOES = 64
const STOP_MS = 1000

export async function forwardingServer(
  components: ForwardingServerComponents,
  { term }: { term: string },
): Promise<ForwardingServer> {
  const { listener, trust, handle, modes, clock, log } = components
  const certificate = await issueActiveNode(trust.ca, { term, now: clock.now() })
  const echoes = new Map<string, StandbyEcho>()
  const conversations = new Set<Conversation>()
  let stopping = false

  async function answer(request: Request): Promise<Plain> {
    if (request.method === ECHO) {
      const about = parseAbout(request.body)
      echoes.delete(about.clusterAddress)
      echoes.set(about.clusterAddress, { ...about, at: clock.now() })
      if (echoes.size > MAX_ECHOES) echoes.delete(echoes.keys().next().value!)
      return { ...(await modes()) }
    }
    if (request.method !== FORWARD) throw new Error('no such method')
    if (stopping) throw new CoreError('CORE_STANDBY', 'Vault is in standby mode')
    const given = await handle(parseRequest(request.body, clock.now()))
    if (given.body.length > HTTP_LIMITS.bodyBytes) throw new Error('the answer is too large to be forwarded')
    return encodeAnswer(given)
  }

  function converse(link: Link): void {
    const conversation: Conversation = { link, taken: 0, underWay: new Set() }
    conversations.add(conversation)
    const queue = sendQueue(link)
    const respond = async (request: Request): Promise<void> => {
      const { id } = request
      try {
        const body = await answer(request)
        await queue.send({ type: 'response', id, body, error: null })
      } catch (error) {
        const notBegun = error instanceof CoreError && error.code === 'CORE_STANDBY'
        if (!notBegun) log.error('a forwarded request failed', { node: link.peer, error: (error as Error).name })
        const code = notBegun ? NOT_ACTIVE : FAILED
        await queue.send({ type: 'response', id, body: null, error: { code, message: '' } })
      }
    }
    void (async () => {
      for await (const message of link.messages) {
        if (message.type !== 'request') return link.close('only requests are taken here')
        const work: Promise<void> = respond(message).finally(() => conversation.underWay.delete(work))
        conversation.taken = Math.max(conversation.taken, message.id)
        conversation.underWay.add(work)
        while (conversation.underWay.size >= MAX_UNDER_WAY) await Promise.race(conversation.underWay)
      }
    })().finally(() => conversations.delete(conversation))
  }

  const registration: ProtocolRegistration = listener.register({
    ...{ alpn: ALPN.requestForwarding, servername: activeNodeName(term) },
    ...{ cert: certificate.certificatePem, key: certificate.privateKeyPem, ca: trust.ca.certificatePem },
    // Whoever has a certificate of this CA has made it with the cluster's keys.
    authorize: (peer) => ({ id: /^CN=([A-Za-z0-9._-]+)$/.exec(peer.subject)?.[1] ?? 'unnamed' }),
    onLink: converse,
  })

  return {
    echoes: () => [...echoes.values()],
    async stop() {
      stopping = true
      const all = [...conversations].flatMap(({ underWay }) => [...underWay])
      await Promise.race([Promise.allSettled(all), new Promise((resolve) => setTimeout(resolve, STOP_MS).unref())])
      for (const { link, taken } of conversations) {
        link.send({ type: 'request', id: 0, method: CLOSING, body: { taken } })
      }
      await registration.unregister('this node leads no longer')
    },
  }
}

interface Conversation {
  link: Link
  /** The highest id read. */
  taken: number
  underWay: Set<Promise<void>>
}
