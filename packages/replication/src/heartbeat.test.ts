import { expect, test } from 'vitest'
import { heartbeat } from './heartbeat.ts'

const report = () => ({ cursor: null, canary: 900, addresses: ['a:8201'], apiAddress: 'http://a:8200' })

test('two clocks 500 ms apart, 40 ms each way', () => {
  const ours = heartbeat({ intervalMs: 1000, silenceMs: 5000 })
  const theirs = heartbeat({ intervalMs: 1000, silenceMs: 5000 })
  const ping = ours.due(10_000, report)!
  expect(ours.due(10_999, report)).toBeUndefined()
  const pong = theirs.onPing(ping, 10_540)
  ours.onPong(pong, 10_080)
  expect(ours.status(10_080)).toMatchObject({
    lastHeartbeat: 10_080,
    roundTripMs: 80,
    clockSkewMs: 500,
    canaryAgeMs: 0,
  })
  theirs.onPong({ type: 'pong', echo: 10_500, time: 10_040 }, 10_580)
  expect(theirs.status(10_580)).toMatchObject({
    clockSkewMs: -500,
    canary: 900,
    canaryAgeMs: 9180,
    addresses: ['a:8201'],
    apiAddress: 'http://a:8200',
  })
})

test('silence is counted from the first look', () => {
  const beat = heartbeat({ intervalMs: 1000, silenceMs: 5000 })
  expect(beat.silent(100_000)).toBe(false)
  expect(beat.silent(105_000)).toBe(false)
  beat.heard(104_000)
  expect(beat.silent(109_000)).toBe(false)
  expect(beat.silent(109_001)).toBe(true)
})

test('a clock that is set back delays neither pings nor the end of a silent link', () => {
  const beat = heartbeat({ intervalMs: 1000, silenceMs: 5000 })
  expect(beat.due(1_000_000, report)).toBeDefined()
  beat.heard(1_000_000)
  expect(beat.due(10_000, report)).toBeDefined()
  expect(beat.due(10_999, report)).toBeUndefined()
  expect(beat.silent(10_000)).toBe(false)
  expect(beat.silent(15_001)).toBe(true)
})

test('an echo from the future does not make time run backwards', () => {
  const beat = heartbeat({ intervalMs: 1000, silenceMs: 5000 })
  beat.onPong({ type: 'pong', echo: 99_999, time: 1 }, 10)
  expect(beat.status(10).roundTripMs).toBe(0)
})
