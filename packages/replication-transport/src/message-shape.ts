/**
 * Walks one msgpack value (https://github.com/msgpack/msgpack/blob/master/spec.md) before it is decoded: every declared
 * length must fit in the bytes that follow, nesting is bounded, and extension types, with which a decoder would build
 * dates, errors or regular expressions for a stranger, do not occur. The one exception is msgpackr's `undefined`.
 */
const MAX_DEPTH = 40

/** Whether `bytes` hold exactly one acceptable value. Allocates nothing. */
export function isPlainMessage(bytes: Buffer): boolean {
  return walk(bytes, 0, 0) === bytes.length
}

const BAD = -1

/** Offset after the value at `at`, or BAD. Overshooting offsets are caught by whoever reads or compares next. */
function walk(bytes: Buffer, at: number, depth: number): number {
  const tag = bytes[at]
  if (tag === undefined || depth > MAX_DEPTH) return BAD
  if (tag < 0x80 || tag >= 0xe0) return at + 1
  if (tag < 0x90) return walkMany(bytes, at + 1, (tag & 0x0f) * 2, depth)
  if (tag < 0xa0) return walkMany(bytes, at + 1, tag & 0x0f, depth)
  if (tag < 0xc0) return skip(bytes, at + 1, tag & 0x1f)
  switch (tag) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return at + 1
    case 0xcc:
    case 0xd0:
      return skip(bytes, at + 1, 1)
    case 0xcd:
    case 0xd1:
      return skip(bytes, at + 1, 2)
    case 0xca:
    case 0xce:
    case 0xd2:
      return skip(bytes, at + 1, 4)
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return skip(bytes, at + 1, 8)
    case 0xd4:
      return bytes[at + 1] === 0 && bytes[at + 2] === 0 ? at + 3 : BAD
    case 0xc4:
    case 0xd9:
      return at + 2 > bytes.length ? BAD : skip(bytes, at + 2, bytes[at + 1]!)
    case 0xc5:
    case 0xda:
      return at + 3 > bytes.length ? BAD : skip(bytes, at + 3, bytes.readUInt16BE(at + 1))
    case 0xc6:
    case 0xdb:
      return at + 5 > bytes.length ? BAD : skip(bytes, at + 5, bytes.readUInt32BE(at + 1))
    case 0xdc:
      return at + 3 > bytes.length ? BAD : walkMany(bytes, at + 3, bytes.readUInt16BE(at + 1), depth)
    case 0xdd:
      return at + 5 > bytes.length ? BAD : walkMany(bytes, at + 5, bytes.readUInt32BE(at + 1), depth)
    case 0xde:
      return at + 3 > bytes.length ? BAD : walkMany(bytes, at + 3, bytes.readUInt16BE(at + 1) * 2, depth)
    case 0xdf:
      return at + 5 > bytes.length ? BAD : walkMany(bytes, at + 5, bytes.readUInt32BE(at + 1) * 2, depth)
    default:
      return BAD
  }
}

function skip(bytes: Buffer, at: number, length: number): number {
  return at + length > bytes.length ? BAD : at + length
}

function walkMany(bytes: Buffer, start: number, count: number, depth: number): number {
  if (count > bytes.length - start) return BAD
  let at = start
  for (let left = count; left > 0; left--) {
    at = walk(bytes, at, depth + 1)
    if (at === BAD) return BAD
  }
  return at
}
