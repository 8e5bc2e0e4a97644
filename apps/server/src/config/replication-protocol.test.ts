import { describe, expect, test } from 'vitest'
import { readReplicationProtocol } from './replication-protocol.ts'

const read = (text: string | undefined) => {
  const warnings: string[] = []
  const range = readReplicationProtocol({ LOCKSTEP_REPLICATION_PROTOCOL: text }, (message) => warnings.push(message))
  return { range, warnings }
}

describe('LOCKSTEP_REPLICATION_PROTOCOL', () => {
  test('unset and empty mean all versions, without a word', () => {
    for (const text of [undefined, '']) expect(read(text)).toEqual({ range: undefined, warnings: [] })
  })

  test('one version, or a range, and a warning that says so', () => {
    expect(read('1').range).toEqual({ min: 1, max: 1 })
    expect(read('1-2').range).toEqual({ min: 1, max: 2 })
    expect(read('2-2').warnings).toEqual(['LOCKSTEP_REPLICATION_PROTOCOL restricts replication to protocol 2'])
  })

  test.each(['0', '3', '2-1', '1-3', 'one', '1,2', '-1', ' 1', '1-'])(
    '%j is refused, naming what is spoken',
    (text) => {
      expect(() => read(text)).toThrow(/LOCKSTEP_REPLICATION_PROTOCOL: expected .* within 1 to 2, not/)
    },
  )
})
