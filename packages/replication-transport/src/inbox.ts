/** Messages that arrived and wait for their one reader. */
export interface Inbox<T> {
  push(item: T, bytes: number): void
  /** Nothing more comes; what is queued is still handed out. */
  end(): void
  readonly items: AsyncIterable<T>
}

export interface InboxOptions {
  /** Bytes queued above which the source should pause; below half of it, resume. */
  highWaterBytes: number
  pause(): void
  resume(): void
  /** The reader left its loop. */
  abandoned(): void
}

export function inbox<T>(options: InboxOptions): Inbox<T> {
  let queue: { item: T; bytes: number }[] = []
  let first = 0
  let queued = 0
  let paused = false
  let ended = false
  let waiting: ((result: IteratorResult<T>) => void) | undefined
  let taken = false

  const shift = (): T => {
    const { item, bytes } = queue[first]!
    queue[first++] = undefined as never
    if (first === queue.length || first > 1024) {
      queue = queue.slice(first)
      first = 0
    }
    queued -= bytes
    if (paused && queued < options.highWaterBytes / 2) {
      paused = false
      options.resume()
    }
    return item
  }

  const iterator: AsyncIterator<T> = {
    next() {
      if (first < queue.length) return Promise.resolve({ done: false, value: shift() })
      if (ended) return Promise.resolve({ done: true, value: undefined })
      return new Promise((resolve) => {
        waiting = resolve
      })
    },
    return() {
      ended = true
      queue = []
      first = 0
      options.abandoned()
      return Promise.resolve({ done: true, value: undefined })
    },
  }

  return {
    push(item, bytes) {
      if (ended) return
      if (waiting) {
        const resolve = waiting
        waiting = undefined
        resolve({ done: false, value: item })
        return
      }
      queue.push({ item, bytes })
      queued += bytes
      if (!paused && queued > options.highWaterBytes) {
        paused = true
        options.pause()
      }
    },
    end() {
      ended = true
      waiting?.({ done: true, value: undefined })
      waiting = undefined
    },
    items: {
      [Symbol.asyncIterator]() {
        if (taken) throw new TypeError('the messages of a link are iterated once')
        taken = true
        return iterator
      },
    },
  }
}
