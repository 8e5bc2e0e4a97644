/** One connection of a standby to the active node, with many requests under way on it. */
import type { Link, Message, Plain } from '@lockstep/replication'
import { sendQueue } from './send-queue.ts'
import { CLOSING, NOT_ACTIVE, parseTaken } from './wire.ts'

/** `not-taken`: the active node surely did nothing. `lost`: whether it did is not known. */
export type Outcome = { body: Plain } | 'not-taken' | 'lost' | 'failed'

export interface ForwardingLink {
  readonly open: boolean
  readonly waiting: number
  /** Never rejects. */
  ask(method: string, body: Plain): Promise<Outcome>
  /** What waits is lost. */
  close(reason: string): void
}

type Response = Extract<Message, { type: 'response' }>

interface Waiting {
  settle(outcome: Outcome): void
  sent: boolean
}

export function forwardingLink(link: Link): ForwardingLink {
  const waiting = new Map<number, Waiting>()
  const queue = sendQueue(link)
  let open = true
  let lastId = 0

  function settle(id: number, outcome: Outcome): void {
    const asked = waiting.get(id)
    waiting.delete(id)
    asked?.settle(outcome)
  }

  function end(): void {
    open = false
    for (const [id, { sent }] of [...waiting]) settle(id, sent ? 'lost' : 'not-taken')
  }

  function answered({ id, body, error }: Response): void {
    if (error === null) settle(id, { body })
    else settle(id, error.code === NOT_ACTIVE ? 'not-taken' : 'failed')
  }

  void (async () => {
    for await (const message of link.messages) {
      if (message.type === 'response') answered(message)
      else if (message.type === 'request' && message.method === CLOSING) {
        open = false
        const taken = parseTaken(message.body)
        for (const id of [...waiting.keys()]) if (id > taken) settle(id, 'not-taken')
      } else link.close('an active node sends answers only')
    }
  })()
    .catch(() => link.close('malformed message'))
    .finally(end)

  return {
    get open() {
      return open
    },
    get waiting() {
      return waiting.size
    },
    ask(method, body) {
      if (!open) return Promise.resolve('not-taken')
      const id = ++lastId
      return new Promise((resolve) => {
        const asked: Waiting = { settle: resolve, sent: false }
        waiting.set(id, asked)
        const begin = (): boolean => {
          asked.sent = waiting.has(id)
          return asked.sent
        }
        void queue.send({ type: 'request', id, method, body }, begin).then(() => asked.sent || settle(id, 'not-taken'))
      })
    },
    close(reason) {
      link.close(reason)
      end()
    },
  }
}
