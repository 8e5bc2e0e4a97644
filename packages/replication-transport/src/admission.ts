/**
 * The first frame on a connection, sent by the listener once the handshake is done and before any message: the connection is
 * accepted, or why not. In TLS 1.3 a client has finished its handshake before the server has looked at its certificate, so
 * without this a refused dialer would see nothing but a reset.
 */
import type { Duplex } from 'node:stream'
import { TransportError, type TransportErrorCode } from './errors.ts'
import { decodeBody, encodeFrame, frameReader } from './frames.ts'

const MAX_ADMISSION_BYTES = 1024
const REFUSALS = [
  'TRANSPORT_NOT_AUTHENTICATED',
  'TRANSPORT_CERTIFICATE_EXPIRED',
  'TRANSPORT_REVOKED',
  'TRANSPORT_BUSY',
  'TRANSPORT_WRONG_PROTOCOL',
  'TRANSPORT_HANDSHAKE',
] as const satisfies readonly TransportErrorCode[]

export type RefusalCode = (typeof REFUSALS)[number]

export function admissionFrame(refusal?: { code: RefusalCode; message: string }): Buffer {
  return encodeFrame({ admission: 1, code: refusal?.code ?? '', message: refusal?.message.slice(0, 300) ?? '' })
}

/** Reads the admission frame and nothing behind it. Rejects with the refusal. */
export function awaitAdmission(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (action: () => void) => {
      stream.pause()
      stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onEnd)
      action()
    }
    const reader = frameReader(MAX_ADMISSION_BYTES, (body) => {
      const refusal = readAdmission(body)
      settle(() => (refusal ? reject(refusal) : resolve()))
    })
    const onData = (chunk: Buffer) => {
      const length = chunk.length >= 4 ? chunk.readUInt32BE(0) + 4 : 0
      try {
        if (length > 0 && length < chunk.length) {
          stream.pause()
          stream.off('data', onData)
          stream.unshift(chunk.subarray(length))
          reader.push(chunk.subarray(0, length))
        } else {
          reader.push(chunk)
        }
      } catch (error) {
        settle(() => reject(error))
      }
    }
    const onEnd = () =>
      settle(() => reject(new TransportError('TRANSPORT_HANDSHAKE', 'the listener closed the connection unheard')))
    const onError = (error: Error) => settle(() => reject(error))
    stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onEnd)
  })
}

function readAdmission(body: Buffer): TransportError | undefined {
  const value = decodeBody(body) as { admission?: unknown; code?: unknown; message?: unknown } | null
  if (value?.admission !== 1 || typeof value.code !== 'string' || typeof value.message !== 'string') {
    return new TransportError('TRANSPORT_BAD_FRAME', 'the listener does not speak this protocol')
  }
  if (value.code === '') return undefined
  const code = REFUSALS.find((known) => known === value.code) ?? 'TRANSPORT_HANDSHAKE'
  return new TransportError(code, `refused by the listener: ${value.message}`)
}
