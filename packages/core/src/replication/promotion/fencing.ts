/** How a primary learns that another cluster was promoted: a secondary that comes back has followed a later epoch than its own. */
import type { Link, Message } from '@lockstep/replication'

/** A secondary's word for a later epoch, kept by the primary it came to. */
export interface FencedRecord {
  epoch: number
  /** The secondary that said so. */
  by: string
  /** ms since the epoch. */
  at: number
}

/** The link as it is; `onEpoch` is told the epoch in the hello, which is its first message. */
export function watchingHello(link: Link, onEpoch: (hello: { clusterId: string; epoch: number }) => void): Link {
  return {
    peer: link.peer,
    closed: link.closed,
    send: (message) => link.send(message),
    writable: () => link.writable(),
    close: (reason) => link.close(reason),
    messages: {
      [Symbol.asyncIterator]() {
        const messages = link.messages[Symbol.asyncIterator]()
        let first = true
        return {
          next(): Promise<IteratorResult<Message>> {
            const next = messages.next()
            if (!first) return next
            first = false
            return next.then((result) => {
              if (!result.done && result.value.type === 'hello') onEpoch(result.value)
              return result
            })
          },
          return: (value?: unknown) => messages.return?.(value) ?? Promise.resolve({ done: true, value: undefined }),
        }
      },
    },
  }
}
