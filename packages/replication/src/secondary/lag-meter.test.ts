import { expect, test } from 'vitest'
import { lagMeter } from './lag-meter.ts'

test('an idle primary is no lag', () => {
  const lag = lagMeter()
  lag.heard(5, 1000)
  lag.applied(5)
  lag.heard(5, 900_000)
  expect(lag.lagMs(900_000)).toBe(0)
})

test('lag counts from when the oldest missing record was heard of', () => {
  const lag = lagMeter()
  lag.heard(5, 1000)
  lag.heard(6, 2000)
  expect(lag.lagMs(2500)).toBe(1500)
  lag.applied(5)
  expect(lag.lagMs(2500)).toBe(500)
  lag.applied(6)
  expect(lag.lagMs(2500)).toBe(0)
  expect(lag.head).toBe(6)
})

test('remembers only so many heads and never tells too little lag', () => {
  const lag = lagMeter()
  for (let n = 1; n <= 5000; n++) lag.heard(n, n)
  lag.applied(4999)
  expect(lag.lagMs(5000)).toBeGreaterThan(0)
  lag.applied(5000)
  expect(lag.lagMs(5000)).toBe(0)
})
