/**
 * Links between processes, as mutual TLS over TCP gives them: in order, whole, or ended. A direction that is blocked holds what is
 * sent back; an end that dies may or may not be noticed at the other. `raw` faults do what TLS would not let through.
 */
import { type Link, type Message, parseMessage } from '@lockstep/replication'
import { decodeBody, encodeFrame, HEADER_BYTES } from '@lockstep/replication-transport'
import type { Kernel, Process } from './kernel.ts'

export interface NetworkFaults {
  /** One way, ms. */
  delayMs: number
  /** Chances per message. */
  drop: number
  duplicate: number
  reorder: number
}

export interface LinkPair {
  readonly kind: string
  /** Names of the clusters: `[secondary, primary]`. */
  readonly names: readonly [string, string]
  readonly open: boolean
  /** A raw fault has hit it: only the safety of what travels on it is still promised. */
  readonly damaged: boolean
  /** The connection breaks; each end notices at once or not before its silence timeout. */
  cut(seenBySecondary: boolean, seenByPrimary: boolean): void
}

export interface Network {
  readonly faults: NetworkFaults
  /** One direction. Unblocking delivers what TCP would have sent again. */
  block(from: string, to: string, blocked: boolean): void
  healAll(): void
  blocked(from: string, to: string): boolean
  /** Resolves with the secondary's end. `accept` runs at the primary, which may refuse by returning a reason. */
  dial(request: DialRequest): Promise<Link>
  links(): LinkPair[]
}

export interface DialRequest {
  kind: string
  from: string
  process: Process
  to: string
  signal: AbortSignal
  /** The process that listens there now; undefined when none does. */
  listener(): Process | undefined
  accept(link: Link): string | undefined
}

export interface NetworkComponents {
  kernel: Kernel
  /** Called for every message as it is sent. */
  onSend(link: LinkPair, from: string, message: Message): void
}

const CONNECT_TIMEOUT_MS = 2000

export function simulatedNetwork({ kernel, onSend }: NetworkComponents): Network {
  const { random } = kernel
  const faults: NetworkFaults = { delayMs: 5, drop: 0, duplicate: 0, reorder: 0 }
  const blocks = new Set<string>()
  const held = new Map<string, (() => void)[]>()
  let pairs: Pair[] = []
  const path = (from: string, to: string): string => `${from}>${to}`
  const delay = (): number => 0.2 + random.float() * faults.delayMs

  const release = (name: string): void => {
    const waiting = held.get(name) ?? []
    held.delete(name)
    for (const send of waiting) send()
  }

  interface Pair extends LinkPair {
    damaged: boolean
  }

  const connect = (request: DialRequest, primary: Process): { pair: Pair; ends: [Link, Link] } => {
    const names = [request.from, request.to] as const
    const processes = [request.process, primary] as const
    const inboxes = [inbox(), inbox()] as const
    const shut = [false, false]
    const arrival = [0, 0]
    const outcome: ((error?: Error) => void)[] = []

    /** One end is over for its process. */
    const end = (side: 0 | 1, error?: Error): void => {
      if (shut[side]) return
      shut[side] = true
      inboxes[side].end(error)
      outcome[side]!(error)
    }
    /** Carries something over, in order, as soon as the way is free. */
    const carry = (from: 0 | 1, action: () => void, inOrder = true): void => {
      const way = path(names[from], names[1 - from]!)
      if (blocks.has(way)) {
        const waiting = held.get(way) ?? []
        held.set(way, waiting)
        waiting.push(() => carry(from, action, inOrder))
        return
      }
      const at = Math.max(kernel.now() + delay(), inOrder ? arrival[from]! : 0)
      if (inOrder) arrival[from] = at
      kernel.at(at - kernel.now(), action)
    }
    /** A packet came to a place where nobody knows the connection. */
    const reset = (side: 0 | 1): void => carry((1 - side) as 0 | 1, () => end(side, new Error('connection reset')))

    const pair: Pair = {
      kind: request.kind,
      names,
      damaged: false,
      get open() {
        return !(shut[0] && shut[1])
      },
      cut(seenBySecondary, seenByPrimary) {
        if (seenBySecondary) end(0, new Error('connection lost'))
        if (seenByPrimary) end(1, new Error('connection lost'))
      },
    }
    const deliver = (to: 0 | 1, frame: Buffer): void => {
      if (shut[to] || !processes[to].alive) reset((1 - to) as 0 | 1)
      else inboxes[to].push(frame)
    }
    const makeEnd = (side: 0 | 1): Link => {
      const other = (1 - side) as 0 | 1
      const closed = new Promise<{ error?: Error }>((resolve) => {
        outcome[side] = (error) => resolve(error ? { error } : {})
      })
      processes[side].onKill(() => {
        if (shut[side]) return
        shut[side] = true
        // The kernel of the machine says goodbye for a process; for a machine nobody does.
        if (random.chance(0.7)) reset(other)
      })
      return {
        peer: side === 0 ? request.to : request.from,
        closed,
        messages: inboxes[side].messages,
        writable: () => Promise.resolve(),
        send(message) {
          if (shut[side] || !processes[side].alive) return
          onSend(pair, names[side], message)
          const frame = encodeFrame(message)
          const fault = random.float()
          const damage = faults.drop + faults.duplicate + faults.reorder
          if (fault >= damage) return carry(side, () => deliver(other, frame))
          if (!pair.damaged) kernel.trace(`net ${names[side]}>${names[other]} damaged from ${message.type}`)
          pair.damaged = true
          if (fault < faults.drop) return
          carry(side, () => deliver(other, frame), fault < faults.drop + faults.duplicate)
          if (fault < faults.drop + faults.duplicate) carry(side, () => deliver(other, frame))
        },
        close() {
          if (shut[side]) return
          end(side)
          carry(side, () => end(other))
        },
      }
    }
    const ends: [Link, Link] = [makeEnd(0), makeEnd(1)]
    pairs = pairs.filter((each) => each.open)
    pairs.push(pair)
    return { pair, ends }
  }

  return {
    faults,
    block(from, to, blocked) {
      const way = path(from, to)
      if (blocked) blocks.add(way)
      else if (blocks.delete(way)) release(way)
    },
    blocked: (from, to) => blocks.has(path(from, to)),
    healAll() {
      const ways = [...blocks]
      blocks.clear()
      for (const way of ways) release(way)
    },
    links: () => pairs.filter((pair) => pair.open),
    dial(request) {
      const { process, from, to, signal } = request
      return new Promise((resolve, reject) => {
        const give = (outcome: () => void): void => {
          signal.removeEventListener('abort', aborted)
          timeout()
          outcome()
        }
        const aborted = (): void => give(() => reject(new Error('aborted')))
        signal.addEventListener('abort', aborted)
        const timeout = process.after(CONNECT_TIMEOUT_MS, () => give(() => reject(new Error(`no answer from ${to}`))))
        const blocked = (): boolean => blocks.has(path(from, to)) || blocks.has(path(to, from))
        if (blocked()) return
        kernel.at(2 * delay(), () => {
          if (!process.alive || blocked() || signal.aborted) return
          const listener = request.listener()
          if (listener === undefined) return give(() => reject(new Error(`connection to ${to} refused`)))
          const { ends } = connect(request, listener)
          const refused = request.accept(ends[1])
          if (refused !== undefined) {
            ends[1].close()
            return give(() => reject(new Error(refused)))
          }
          kernel.at(delay(), () => process.alive && give(() => resolve(ends[0])))
        })
      })
    },
  }
}

function inbox() {
  const queue: Buffer[] = []
  let ended = false
  let failure: Error | undefined
  let wake: (() => void) | undefined
  async function* messages(): AsyncGenerator<Message> {
    for (;;) {
      while (queue.length > 0) yield parseMessage(decodeBody(queue.shift()!.subarray(HEADER_BYTES)))
      if (failure !== undefined) throw failure
      if (ended) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  return {
    messages: messages(),
    push(frame: Buffer) {
      queue.push(frame)
      wake?.()
    },
    end(error?: Error) {
      ended = true
      failure = error
      // What had come in and was not read is lost with a connection that breaks.
      if (error) queue.length = 0
      wake?.()
    },
  }
}
