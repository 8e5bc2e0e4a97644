import { describe, expect, it } from 'vitest'
import { addressRanges, isCidr, isSubset } from './cidr.ts'

describe('addressRanges', () => {
  it.each([
    [[], '1.2.3.4', true],
    [['10.0.0.0/8'], '10.255.0.1', true],
    [['10.0.0.0/8'], '11.0.0.1', false],
    [['127.0.0.1'], '127.0.0.1', true],
    [['10.0.0.0/8'], '::ffff:10.1.1.1', true],
    [['fe80::/10'], 'fe80::1', true],
    [['fe80::/10'], '10.0.0.1', false],
    [['0.0.0.0/0'], '10.0.0.1', true],
    [['10.0.0.0/8'], 'nonsense', false],
    [['10.0.0.0/8'], '', false],
  ])('%j contains %s: %s', (ranges, address, expected) => {
    expect(addressRanges(ranges).contains(address)).toBe(expected)
  })
})

it('knows a CIDR block', () => {
  for (const good of ['10.0.0.0/8', '::/0', 'fe80::1/128']) expect(isCidr(good, false), good).toBe(true)
  for (const bad of ['', 'bad', '10.0.0.1', '10.0.0.0/33', '10.0.0.0/x', '10.0.0.0/8/8', '::/129', '10.0.0.0/']) {
    expect(isCidr(bad, false), bad).toBe(false)
  }
  expect(isCidr('10.0.0.1', true)).toBe(true)
})

it('knows a subset', () => {
  expect(isSubset(['192.168.1.0/24'], ['10.0.0.0/8', '192.168.0.0/16'])).toBe(true)
  expect(isSubset(['192.168.0.0/15'], ['192.168.0.0/16'])).toBe(false)
  expect(isSubset(['10.0.0.0/8'], ['192.168.0.0/16'])).toBe(false)
  expect(isSubset(['::/0'], ['0.0.0.0/0'])).toBe(false)
})
