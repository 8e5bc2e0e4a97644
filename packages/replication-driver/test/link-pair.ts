import { type Link, type Message, parseMessage } from '@lockstep/replication'

/** Two ends of a link inside this process. Messages are copied, checked and delivered in a later turn. */
export function linkPair(peers: [string, string] = ['secondary', 'primary']): [Link, Link] {
  const shut: (() => void)[] = []
  let closed = false
  const close = (): void => {
    if (closed) return
    closed = true
    setImmediate(() => {
      for (const each of shut) each()
    })
  }
  const inboxes = [inbox(), inbox()] as const
  const end = (side: 0 | 1): Link => {
    let resolveClosed: (outcome: { error?: Error }) => void
    const gone = new Promise<{ error?: Error }>((resolve) => {
      resolveClosed = resolve
    })
    shut.push(() => {
      inboxes[side].end()
      resolveClosed({})
    })
    return {
      peer: peers[side],
      send(message) {
        if (!closed) inboxes[1 - side]!.push(structuredClone(message))
      },
      writable: () => Promise.resolve(),
      messages: inboxes[side].messages,
      close,
      closed: gone,
    }
  }
  return [end(0), end(1)]
}

function inbox() {
  const queue: Message[] = []
  let ended = false
  let wake: (() => void) | undefined
  async function* messages(): AsyncGenerator<Message> {
    for (;;) {
      while (queue.length > 0) yield parseMessage(queue.shift())
      if (ended) return
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  return {
    messages: messages(),
    push(message: Message) {
      setImmediate(() => {
        queue.push(message)
        wake?.()
      })
    },
    end() {
      ended = true
      wake?.()
    },
  }
}
