/** Requests over one link as promises: the application's side of the protocol's `call` and `result`. */
import type { CallEffect, CallEvent, Plain, ResultEffect } from '@lockstep/replication'
import { LinkError } from './errors.ts'
import type { Runtime } from './runtime.ts'

export interface RequestOptions {
  /** Default 30,000. */
  timeoutMs?: number
}

/** Answers a request of the peer. What it rejects with reaches the peer as `code` and `message`, so neither may hold secrets. */
export type OnRequest = (method: string, body: Plain) => Promise<Plain>

export interface LinkCalls {
  /** Rejects with `LinkError`. */
  request(method: string, body: Plain, options?: RequestOptions): Promise<Plain>
  onCall(effect: CallEffect): void
  onResult(effect: ResultEffect): void
}

interface Waiting {
  resolve(body: Plain): void
  reject(error: Error): void
  cancelTimer(): void
}

export function linkCalls(
  step: (event: CallEvent) => void,
  onRequest: OnRequest,
  runtime: Pick<Runtime, 'after'>,
): LinkCalls {
  const waiting = new Map<number, Waiting>()
  let lastId = 0

  const settle = (id: number): Waiting | undefined => {
    const call = waiting.get(id)
    waiting.delete(id)
    call?.cancelTimer()
    return call
  }

  return {
    request(method, body, { timeoutMs = 30_000 } = {}) {
      return new Promise((resolve, reject) => {
        const id = ++lastId
        const cancelTimer = runtime.after(timeoutMs, () => {
          settle(id)
          step({ type: 'forget', id })
          reject(new LinkError('REPLICATION_TIMEOUT', `no answer to ${method} within ${timeoutMs} ms`))
        })
        waiting.set(id, { resolve, reject, cancelTimer })
        step({ type: 'request', id, method, body })
      })
    },
    onCall({ id, method, body }) {
      void Promise.resolve()
        .then(() => onRequest(method, body))
        .then(
          (answer) => step({ type: 'answer', id, body: answer, error: null }),
          (error) => step({ type: 'answer', id, body: null, error: describe(error) }),
        )
    },
    onResult({ id, body, error }) {
      const call = settle(id)
      if (error === null) call?.resolve(body)
      else call?.reject(linkError(error))
    },
  }
}

function linkError({ code, message }: { code: string; message: string }): LinkError {
  if (code === 'disconnected') return new LinkError('REPLICATION_DISCONNECTED', message)
  if (code === 'busy') return new LinkError('REPLICATION_BUSY', message)
  return new LinkError('REPLICATION_REMOTE', message, code)
}

function describe(error: unknown): { code: string; message: string } {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  return {
    code: typeof code === 'string' ? code.slice(0, 200) : 'failed',
    message: typeof message === 'string' ? message.slice(0, 2000) : 'the request failed',
  }
}
