import type { Link, Message } from '@lockstep/replication'

export interface SendQueue {
  /** Resolves once the message is the link's, or will never be. `begin` is called right before, and says whether it is still wanted. */
  send(message: Message, begin?: () => boolean): Promise<void>
}

/** Large messages one after the other, each when the link has room, so that many at a time do not overrun it. */
export function sendQueue(link: Link): SendQueue {
  let open = true
  void link.closed.then(() => {
    open = false
  })
  let last: Promise<void> = Promise.resolve()
  return {
    send(message, begin = () => true) {
      const sent = last.then(async () => {
        await link.writable()
        if (open && begin()) link.send(message)
      })
      last = sent
      return sent
    },
  }
}
