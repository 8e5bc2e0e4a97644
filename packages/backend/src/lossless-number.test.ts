import { LosslessNumber } from 'lossless-json'
import { expect, test } from 'vitest'
import { isLosslessNumber, stringifyJson } from './index.ts'

test('a number that the parser made is one', () => {
  expect(isLosslessNumber(new LosslessNumber('12345678901234567890'))).toBe(true)
  expect(stringifyJson({ n: new LosslessNumber('1.00') })).toBe('{"n":1.00}')
})

test("a client's object of the same shape is data", () => {
  for (const value of ['1', '}, "injected": {', 7]) {
    const forged = JSON.parse(JSON.stringify({ isLosslessNumber: true, value }))
    expect(isLosslessNumber(forged)).toBe(false)
    expect(JSON.parse(stringifyJson({ forged }))).toEqual({ forged })
  }
  expect(isLosslessNumber(Object.assign(Object.create(null), { isLosslessNumber: true, value: '1' }))).toBe(false)
})
