/** A field of a protobuf message: an integer, or bytes that may be a nested message. */
export interface WireField {
  readonly number: number
  readonly integer: bigint
  readonly bytes: Buffer
}

const NO_BYTES = Buffer.alloc(0)

export class WireError extends Error {
  override readonly name = 'WireError'
}

/** The fields of one message, in order. Throws `WireError` where a length leads out of it. */
export function* fieldsOf(message: Buffer): Generator<WireField> {
  let at = 0
  const varint = (): bigint => {
    let low = 0
    // Up to 28 bits without bigint: nearly every integer here.
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = message[at++]
      if (byte === undefined) throw new WireError('a message ends within a number')
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return BigInt(low)
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = message[at++]
      if (byte === undefined) throw new WireError('a message ends within a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw new WireError('a number has more than 64 bits')
  }
  const take = (length: bigint): Buffer => {
    if (length > BigInt(message.byteLength - at)) throw new WireError('a field is longer than its message')
    const bytes = message.subarray(at, at + Number(length))
    at += Number(length)
    return bytes
  }
  while (at < message.byteLength) {
    const tag = Number(varint())
    const number = Math.floor(tag / 8)
    switch (tag & 7) {
      case 0:
        yield { number, integer: varint(), bytes: NO_BYTES }
        break
      case 1:
        yield { number, integer: 0n, bytes: take(8n) }
        break
      case 2:
        yield { number, integer: 0n, bytes: take(varint()) }
        break
      case 5:
        yield { number, integer: 0n, bytes: take(4n) }
        break
      default:
        throw new WireError(`a field has the unknown wire type ${tag & 7}`)
    }
  }
}

/** An int64 as a number, for revisions and counts, which do not pass 2^53. */
export function safeInteger(value: bigint): number {
  const signed = Number(BigInt.asIntN(64, value))
  if (!Number.isSafeInteger(signed)) throw new WireError('a number is too large')
  return signed
}
