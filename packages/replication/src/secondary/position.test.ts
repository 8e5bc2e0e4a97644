import { expect, test } from 'vitest'
import { decodePosition, encodePosition, NO_POSITION } from './position.ts'

test('round trip', () => {
  const cursor = { epoch: 2, index: 77, digest: new Uint8Array(32).fill(9) }
  for (const position of [NO_POSITION, { clusterId: 'c', epoch: 3, leader: 'l', view: 'v', cursor }]) {
    const decoded = decodePosition(encodePosition(position))
    expect({ ...decoded, cursor: decoded.cursor && { ...decoded.cursor, digest: [...decoded.cursor.digest] } }).toEqual(
      {
        ...position,
        cursor: position.cursor && { ...position.cursor, digest: [...position.cursor.digest] },
      },
    )
  }
})

test('refuses anything else', () => {
  const good = JSON.parse(Buffer.from(encodePosition(NO_POSITION)).toString())
  const bad = [
    '',
    'null',
    '{}',
    JSON.stringify({ ...good, version: 2 }),
    JSON.stringify({ ...good, epoch: -1 }),
    JSON.stringify({ ...good, cursor: { epoch: 1, index: 1, digest: 'abcd' } }),
    JSON.stringify({ ...good, cursor: undefined }),
  ]
  for (const text of bad) {
    expect(() => decodePosition(Buffer.from(text))).toThrow(
      expect.objectContaining({ code: 'REPLICATION_INVALID_RECORD' }),
    )
  }
})
