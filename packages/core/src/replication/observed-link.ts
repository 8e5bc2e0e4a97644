import type { Link, Message } from '@lockstep/replication'

/** The link as it is; `observe` sees every message before whoever reads it. */
export function observedLink(link: Link, observe: (message: Message) => void): Link {
  return {
    peer: link.peer,
    closed: link.closed,
    send: (message) => link.send(message),
    writable: () => link.writable(),
    close: (reason) => link.close(reason),
    messages: {
      [Symbol.asyncIterator]() {
        const messages = link.messages[Symbol.asyncIterator]()
        return {
          async next() {
            const result = await messages.next()
            if (!result.done) observe(result.value)
            return result
          },
          return: (value?: unknown) => messages.return?.(value) ?? Promise.resolve({ done: true, value: undefined }),
        }
      },
    },
  }
}
