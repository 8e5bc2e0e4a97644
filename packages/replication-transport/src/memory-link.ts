import { Duplex } from 'node:stream'
import type { Link, Message } from '@lockstep/replication'
import { type LinkOptions, streamLink } from './stream-link.ts'

export interface MemoryLinkOptions extends LinkOptions {
  /** Names the ends see of each other: `[peer of the first, peer of the second]`. Default `['secondary', 'primary']`. */
  peers?: readonly [string, string]
  /** How long each chunk of bytes is under way, ms. Order is kept. Default: no time. */
  delayMs?(): number
  /** Messages for which it returns true vanish. `from` is the index of the sending end. */
  drop?(message: Message, from: 0 | 1): boolean
}

export interface MemoryLinkPair {
  readonly ends: readonly [Link, Link]
  /** Both ends fail as when the network breaks; what is under way is lost. */
  cut(): void
}

/** Two ends of a link in one process, over the same framing as the real one. For tests and simulations. */
export function memoryLinkPair(options: MemoryLinkOptions = {}): MemoryLinkPair {
  const streams = [new PairedStream(options.delayMs), new PairedStream(options.delayMs)] as const
  streams[0].other = streams[1]
  streams[1].other = streams[0]
  const peers = options.peers ?? ['secondary', 'primary']
  const end = (index: 0 | 1): Link => {
    const link = streamLink(streams[index], peers[index], options)
    const { drop } = options
    if (!drop) return link
    return {
      peer: link.peer,
      messages: link.messages,
      closed: link.closed,
      writable: () => link.writable(),
      close: (reason) => link.close(reason),
      send(message) {
        if (!drop(message, index)) link.send(message)
      },
    }
  }
  return {
    ends: [end(0), end(1)],
    cut() {
      for (const stream of streams) stream.destroy(new Error('cut'))
    },
  }
}

/** What is written to one comes out of the other. */
class PairedStream extends Duplex {
  other: PairedStream | undefined
  readonly #delayMs: (() => number) | undefined
  #ended = false
  /** Set while the reader on this side has enough; called when it wants more. */
  #wanted: (() => void) | undefined

  constructor(delayMs: (() => number) | undefined) {
    super({ readableHighWaterMark: 256 * 1024 })
    this.#delayMs = delayMs
  }

  override _read(): void {
    const wanted = this.#wanted
    this.#wanted = undefined
    wanted?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    this.#later(() => this.#deliver(chunk, callback))
  }

  override _final(callback: () => void): void {
    this.#later(() => this.#deliver(null, callback))
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    // The other end sees the connection go, after what was already delivered to it.
    const other = this.other
    if (other && !other.destroyed) queueMicrotask(() => other.#wasCut())
    callback(error)
  }

  #wasCut(): void {
    if (this.destroyed || this.#ended) return
    this.#ended = true
    this.push(null)
  }

  #deliver(chunk: Buffer | null, callback: () => void): void {
    const { other } = this
    if (!other || other.destroyed || other.#ended) {
      callback()
      return
    }
    if (chunk === null) other.#ended = true
    if (other.push(chunk) || chunk === null) callback()
    else other.#wanted = callback
  }

  #later(action: () => void): void {
    if (this.#delayMs) setTimeout(action, this.#delayMs())
    else setImmediate(action)
  }
}
