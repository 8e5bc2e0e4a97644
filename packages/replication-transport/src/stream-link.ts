import type { Duplex } from 'node:stream'
import { type Link, type Message, parseMessage } from '@lockstep/replication'
import { TransportError } from './errors.ts'
import {
  DEFAULT_MAX_FRAME_BYTES,
  decodeBody,
  encodeFrame,
  encodeSharedFrame,
  frameReader,
  GOODBYE,
  isGoodbye,
} from './frames.ts'
import { inbox } from './inbox.ts'

export interface LinkOptions {
  /** Largest frame body sent or accepted, bytes. Default `MESSAGE_LIMITS.frameBytes`, 40 MiB. */
  maxFrameBytes?: number | undefined
  /** Bytes sent but not yet taken by the network above which `writable()` waits. Default 4 MiB. */
  sendHighWaterBytes?: number | undefined
  /** Bytes at which the link is given up, for a sender that does not wait. Default 256 MiB. */
  sendLimitBytes?: number | undefined
  /** Bytes received but not yet read above which the peer is held back. Default 4 MiB. */
  receiveHighWaterBytes?: number | undefined
  /** Longest silence of the peer, and longest time without progress in sending. ms, default 60,000; 0 = none. */
  idleTimeoutMs?: number | undefined
  /** Told of every piece written to the connection or read from it, bytes before encryption. Default: nobody is. */
  onTraffic?: ((direction: 'sent' | 'received', bytes: number) => void) | undefined
  /** Told once, when the link has closed: why this side closed it, or what went wrong. */
  onClosed?: ((reason: string | undefined, error: Error | undefined) => void) | undefined
}

const MIB = 1024 * 1024
/** Queued frames are written together at the end of the turn, or at once when they are this many bytes. */
const FLUSH_BYTES = 64 * 1024
const CLOSE_TIMEOUT_MS = 1000

/** A `Link` over any byte stream, which it owns from now on. */
export function streamLink(stream: Duplex, peer: string, options: LinkOptions = {}): Link {
  const maxFrameBytes = options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES
  const sendHighWater = options.sendHighWaterBytes ?? 4 * MIB
  const sendLimit = options.sendLimitBytes ?? 256 * MIB
  const idleTimeout = options.idleTimeoutMs ?? 60_000

  let frames: Buffer[] = []
  let frameBytes = 0
  /** Bytes in `frames` and in the stream. */
  let sending = 0
  let flushing: NodeJS.Immediate | undefined
  let waiting: (() => void)[] = []
  /** No more is sent or delivered. */
  let closing = false
  let done = false
  /** The peer has sent everything and closes. */
  let farewell = false
  let paused = false
  let reason: string | undefined
  let lastReceived = performance.now()
  let lastSent = lastReceived
  let closeTimer: NodeJS.Timeout | undefined
  let resolveClosed: (outcome: { error?: Error }) => void = () => {}
  const closed = new Promise<{ error?: Error }>((resolve) => {
    resolveClosed = resolve
  })

  const release = () => {
    const released = waiting
    waiting = []
    for (const resolve of released) resolve()
  }

  const finish = (error?: Error) => {
    if (done) return
    done = true
    closing = true
    clearImmediate(flushing)
    clearInterval(idleTimer)
    clearTimeout(closeTimer)
    frames = []
    stream.destroy()
    received.end()
    release()
    options.onClosed?.(reason, error)
    resolveClosed(error ? { error } : {})
  }

  const written = (bytes: number) => {
    sending -= bytes
    lastSent = performance.now()
    if (sending < sendHighWater) release()
  }

  const flush = () => {
    clearImmediate(flushing)
    flushing = undefined
    if (frames.length === 0 || done) return
    const batch = frames
    const bytes = frameBytes
    frames = []
    frameBytes = 0
    stream.cork()
    for (let at = 0; at < batch.length - 1; at++) stream.write(batch[at]!)
    stream.write(batch[batch.length - 1]!, () => written(bytes))
    stream.uncork()
    options.onTraffic?.('sent', bytes)
  }

  const received = inbox<Message>({
    highWaterBytes: options.receiveHighWaterBytes ?? 4 * MIB,
    pause() {
      paused = true
      stream.pause()
    },
    resume() {
      paused = false
      lastReceived = performance.now()
      stream.resume()
    },
    abandoned: () => close('the reader left'),
  })

  const reader = frameReader(maxFrameBytes, (body) => {
    if (isGoodbye(body)) farewell = true
    else if (!closing && !farewell) received.push(parse(body), body.length)
  })

  const close = (why?: string) => {
    if (closing) return
    reason = why
    flush()
    closing = true
    release()
    closeTimer = setTimeout(finish, CLOSE_TIMEOUT_MS)
    closeTimer.unref()
    // Nobody reads any more, but the peer's end has to be seen.
    stream.resume()
    stream.end(GOODBYE)
  }

  const idleTimer =
    idleTimeout > 0
      ? setInterval(() => {
          const now = performance.now()
          if (!paused && now - lastReceived > idleTimeout) finish(stalled(`nothing received for ${idleTimeout} ms`))
          else if (sending > 0 && now - lastSent > idleTimeout) finish(stalled(`nothing sent for ${idleTimeout} ms`))
        }, idleTimeout / 4)
      : undefined
  idleTimer?.unref()

  stream.on('data', (chunk: Buffer) => {
    lastReceived = performance.now()
    options.onTraffic?.('received', chunk.length)
    try {
      reader.push(chunk)
    } catch (error) {
      finish(error as Error)
    }
  })
  const gone = (message: string, cause?: unknown) =>
    finish(closing || farewell ? undefined : new TransportError('TRANSPORT_DISCONNECTED', message, { cause }))
  stream.on('end', () =>
    gone(reader.idle ? 'the connection ended without a goodbye' : 'the connection ended in a frame'),
  )
  stream.on('error', (cause) => gone('the connection failed', cause))
  stream.on('close', () => gone('the connection was cut'))
  // Whoever handed it over may have paused it.
  stream.resume()

  return {
    peer,
    messages: received.items,
    closed,
    close,
    writable() {
      if (closing || sending < sendHighWater) return Promise.resolve()
      return new Promise((resolve) => waiting.push(resolve))
    },
    send(message) {
      if (closing) return
      let frame: Buffer
      try {
        // Batches of the log are the one thing that goes to several secondaries.
        frame = message.type === 'wal' ? encodeSharedFrame(message, maxFrameBytes) : encodeFrame(message, maxFrameBytes)
      } catch (error) {
        return finish(error as Error)
      }
      if (sending === 0) lastSent = performance.now()
      frames.push(frame)
      frameBytes += frame.length
      sending += frame.length
      if (sending > sendLimit) return finish(stalled(`${sending} bytes wait to be sent`))
      if (frameBytes >= FLUSH_BYTES) flush()
      else flushing ??= setImmediate(flush)
    },
  }
}

function parse(body: Buffer): Message {
  const value = decodeBody(body)
  try {
    return parseMessage(value)
  } catch (cause) {
    throw new TransportError('TRANSPORT_BAD_FRAME', `not a message: ${(cause as Error).message}`, { cause })
  }
}

function stalled(message: string): TransportError {
  return new TransportError('TRANSPORT_STALLED', message)
}
