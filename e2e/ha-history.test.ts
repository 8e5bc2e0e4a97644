// The checker of stored histories finds what it is there to find.
import { describe, expect, test } from 'vitest'
import { type Change, violations } from './ha-history.ts'

function change(token: bigint, node: string, key: string, value?: Buffer): Change {
  return { key, value, deleted: false, commit: 0, token, leads: key === 'leader', node }
}

function head(epoch: number, index: number, digest: number): Buffer {
  const bytes = Buffer.alloc(1 + 5 * 6 + 2 * 32, digest)
  bytes.writeUIntBE(epoch, 1, 6)
  bytes.writeUIntBE(index, 7, 6)
  return bytes
}

const row = (index: number): string => `g1/w/${index.toString(16).padStart(16, '0')}`

describe('violations', () => {
  test('none: one leader after the other, one line of heads and records', () => {
    const history = [
      change(1n, 'a', 'leader'),
      change(1n, 'a', row(1), Buffer.alloc(32, 7)),
      change(1n, 'a', 'g1/h', head(1, 1, 7)),
      change(2n, 'b', 'leader'),
      change(2n, 'c', 'nodes/c'),
      change(2n, 'b', 'g1/h', head(1, 3, 8)),
      change(2n, 'b', 'g1/h', head(1, 3, 8)),
      change(2n, 'b', 'g1/h', head(2, 3, 9)),
    ]
    expect(violations(history)).toEqual([])
  })

  test.each([
    ['a write of the node before', [change(1n, 'a', 'leader'), change(2n, 'b', 'leader'), change(2n, 'a', 'g1/d/x')]],
    ['a write under the token before', [change(2n, 'b', 'leader'), change(1n, 'b', 'g1/d/x')]],
    ['a write while none leads', [change(1n, 'a', 'leader'), change(0n, 'a', 'g1/d/x')]],
    ['a head that goes back', [change(1n, 'a', 'g1/h', head(1, 5, 1)), change(1n, 'a', 'g1/h', head(1, 4, 1))]],
    ['two heads at one place', [change(1n, 'a', 'g1/h', head(1, 5, 1)), change(1n, 'a', 'g1/h', head(1, 5, 2))]],
    ['a record written twice', [change(1n, 'a', row(3), Buffer.alloc(32)), change(1n, 'a', row(3), Buffer.alloc(32))]],
    ['a head of another line', [change(1n, 'a', row(3), Buffer.alloc(32, 1)), change(1n, 'a', 'g1/h', head(1, 3, 2))]],
  ])('%s', (_, history) => {
    expect(violations(history)).toHaveLength(1)
  })
})
