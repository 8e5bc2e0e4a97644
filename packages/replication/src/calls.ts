/** Requests between the two applications, bounded in number both ways; the protocol only carries them. */
import type { Plain, Request, Response } from './messages.ts'

/** Calls under way at once, in each direction. */
export const MAX_CALLS = 256

export interface CallError {
  code: string
  message: string
}

/** The peer calls; answer with the event `answer` under the same id. */
export interface CallEffect {
  type: 'call'
  id: number
  method: string
  body: Plain
}

/** The end of a call that this side made with the event `request`. Exactly one for each, unless it was forgotten. */
export interface ResultEffect {
  type: 'result'
  id: number
  body: Plain
  error: CallError | null
}

export type CallEvent =
  /** This side calls. `id` is its own choice, unique on this link. */
  | { type: 'request'; id: number; method: string; body: Plain }
  /** This side no longer waits for a result. */
  | { type: 'forget'; id: number }
  | { type: 'answer'; id: number; body: Plain; error: CallError | null }

export type CallReaction = CallEffect | ResultEffect | { type: 'send'; message: Request | Response }

export interface Calls {
  event(event: CallEvent): CallReaction[]
  message(message: Request | Response): CallReaction[]
  /** The link is gone: results for all calls still waiting. */
  closed(): ResultEffect[]
}

export function calls(): Calls {
  const outgoing = new Set<number>()
  const incoming = new Set<number>()
  let open = true
  return {
    event(event) {
      switch (event.type) {
        case 'request': {
          if (!open) return [disconnected(event.id)]
          if (outgoing.size >= MAX_CALLS)
            return [failed(event.id, 'busy', 'too many requests are waiting on this link')]
          outgoing.add(event.id)
          const { id, method, body } = event
          return [{ type: 'send', message: { type: 'request', id, method, body } }]
        }
        case 'forget':
          outgoing.delete(event.id)
          return []
        case 'answer': {
          if (!incoming.delete(event.id)) return []
          const { id, body, error } = event
          return [{ type: 'send', message: { type: 'response', id, body, error } }]
        }
      }
    },
    message(message) {
      const { id } = message
      if (message.type === 'response') {
        return outgoing.delete(id) ? [{ type: 'result', id, body: message.body, error: message.error }] : []
      }
      if (incoming.has(id)) return []
      if (incoming.size >= MAX_CALLS) {
        const error = { code: 'busy', message: 'too many requests are being answered on this link' }
        return [{ type: 'send', message: { type: 'response', id, body: null, error } }]
      }
      incoming.add(id)
      return [{ type: 'call', id, method: message.method, body: message.body }]
    },
    closed() {
      open = false
      const results = [...outgoing].map(disconnected)
      outgoing.clear()
      incoming.clear()
      return results
    },
  }
}

function disconnected(id: number): ResultEffect {
  return failed(id, 'disconnected', 'the link closed before the answer came')
}

function failed(id: number, code: string, message: string): ResultEffect {
  return { type: 'result', id, body: null, error: { code, message } }
}
