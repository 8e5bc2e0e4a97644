import type { Link, Plain } from '@lockstep/replication'

/** One request over a link that carries nothing else. Rejects with the peer's error, when the link closes, or on abort. */
export async function callOnce(link: Link, method: string, body: Plain, signal: AbortSignal): Promise<Plain> {
  const abort = (): void => link.close('no answer in time')
  signal.addEventListener('abort', abort, { once: true })
  try {
    link.send({ type: 'request', id: 1, method, body })
    for await (const message of link.messages) {
      if (message.type === 'refuse') throw new Error(message.message)
      if (message.type !== 'response' || message.id !== 1) continue
      if (message.error !== null) throw new Error(message.error.message)
      return message.body
    }
    throw (await link.closed).error ?? new Error('the primary closed the connection')
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
