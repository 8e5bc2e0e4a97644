import { expect, test } from 'vitest'
import { invert, multiply } from './field.ts'

/** Multiplication by logarithms to the base 3, independent of the code under test. */
function tables(): { log: number[]; exp: number[] } {
  const log: number[] = []
  const exp: number[] = []
  let x = 1
  for (let i = 0; i < 255; i++) {
    exp[i] = x
    log[x] = i
    const doubled = x & 0x80 ? ((x << 1) ^ 0x11b) & 0xff : x << 1
    x = doubled ^ x
  }
  return { log, exp }
}

test('multiplies like a table of logarithms, for every pair', () => {
  const { log, exp } = tables()
  for (let a = 0; a < 256; a++) {
    for (let b = 0; b < 256; b++) {
      const expected = a === 0 || b === 0 ? 0 : exp[(log[a]! + log[b]!) % 255]!
      if (multiply(a, b) !== expected) expect.fail(`${a} * ${b}`)
    }
  }
})

test('the example of FIPS 197, section 4.2', () => {
  expect(multiply(0x57, 0x83)).toBe(0xc1)
  expect(multiply(0x57, 0x13)).toBe(0xfe)
})

test('every element but 0 has an inverse', () => {
  expect(invert(0)).toBe(0)
  for (let a = 1; a < 256; a++) expect(multiply(a, invert(a))).toBe(1)
})
