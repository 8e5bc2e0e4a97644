/**
 * The wire: frames of u32 big-endian body length, then the body, one msgpack value. Lengths 0 and above the limit are
 * errors, and are found before anything is set aside for the body.
 */
import { MESSAGE_LIMITS } from '@lockstep/replication'
import { Packr, RESERVE_START_SPACE, Unpackr } from 'msgpackr'
import { TransportError } from './errors.ts'
import { isPlainMessage } from './message-shape.ts'

export const HEADER_BYTES = 4
/** What the protocol promises never to exceed. */
export const DEFAULT_MAX_FRAME_BYTES: number = MESSAGE_LIMITS.frameBytes

const packr = new Packr({ useRecords: false, copyBuffers: true, moreTypes: false })
const unpackr = new Unpackr({ useRecords: false, copyBuffers: true, moreTypes: false })

/**
 * A frame whose body is nil: the sender closes in order and has sent everything. Without it the end of a stream is a failure,
 * as anyone on the way can end a TCP connection.
 */
export const GOODBYE: Buffer = encodeFrame(null)

export function isGoodbye(body: Buffer): boolean {
  return body.length === 1 && body[0] === 0xc0
}

/** A whole frame, ready for the socket. */
export function encodeFrame(message: unknown, maxFrameBytes = DEFAULT_MAX_FRAME_BYTES): Buffer {
  const frame = packr.pack(message, RESERVE_START_SPACE + HEADER_BYTES)
  const length = frame.length - HEADER_BYTES
  if (length > maxFrameBytes) {
    throw new TransportError('TRANSPORT_BAD_FRAME', `frame of ${length} bytes is over the limit of ${maxFrameBytes}`)
  }
  frame.writeUInt32BE(length, 0)
  return frame
}

const sharedFrames = new WeakMap<object, Buffer>()

/**
 * Like `encodeFrame`, for a message that goes over several links as one object: encoded once. It must not change any more, and the
 * frame must not be written to.
 */
export function encodeSharedFrame(message: object, maxFrameBytes = DEFAULT_MAX_FRAME_BYTES): Buffer {
  let frame = sharedFrames.get(message)
  if (frame === undefined) {
    frame = encodeFrame(message, maxFrameBytes)
    sharedFrames.set(message, frame)
  } else if (frame.length - HEADER_BYTES > maxFrameBytes) {
    return encodeFrame(message, maxFrameBytes)
  }
  return frame
}

/** Byte arrays in the result are copies. */
export function decodeBody(body: Buffer): unknown {
  if (!isPlainMessage(body)) throw new TransportError('TRANSPORT_BAD_FRAME', 'frame is not a msgpack message')
  try {
    return unpackr.unpack(body)
  } catch (cause) {
    throw new TransportError('TRANSPORT_BAD_FRAME', 'frame is not a msgpack message', { cause })
  }
}

export interface FrameReader {
  /** Calls `onBody` for each frame that the chunk completes. Throws `TRANSPORT_BAD_FRAME`; the reader is then useless. */
  push(chunk: Buffer): void
  /** True between frames. */
  readonly idle: boolean
}

export function frameReader(maxFrameBytes: number, onBody: (body: Buffer) => void): FrameReader {
  let parts: Buffer[] = []
  let held = 0
  /** Bytes needed before anything can be done: a header, or a header and its body. */
  let wanted = HEADER_BYTES

  const bodyLength = (bytes: Buffer, at: number): number => {
    const length = bytes.readUInt32BE(at)
    if (length === 0 || length > maxFrameBytes) {
      throw new TransportError('TRANSPORT_BAD_FRAME', `frame length ${length} is not within 1 to ${maxFrameBytes}`)
    }
    return length
  }

  return {
    push(chunk) {
      let bytes = chunk
      if (held > 0) {
        parts.push(chunk)
        held += chunk.length
        if (held < wanted) return
        bytes = Buffer.concat(parts, held)
        parts = []
      }
      let at = 0
      wanted = HEADER_BYTES
      while (bytes.length - at >= HEADER_BYTES) {
        const frameBytes = HEADER_BYTES + bodyLength(bytes, at)
        if (bytes.length - at < frameBytes) {
          wanted = frameBytes
          break
        }
        onBody(bytes.subarray(at + HEADER_BYTES, at + frameBytes))
        at += frameBytes
      }
      held = bytes.length - at
      if (held > 0) parts = [at === 0 ? bytes : bytes.subarray(at)]
    },
    get idle() {
      return held === 0
    },
  }
}
