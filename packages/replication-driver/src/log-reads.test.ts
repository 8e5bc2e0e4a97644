import { memoryEngine } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { bytes, open } from '../test/fixture.ts'
import { type LogRead, logReads } from './log-reads.ts'

/** Time that only moves when told. */
function manualRuntime() {
  let now = 1000
  const timers: { at: number; run: () => void }[] = []
  return {
    now: () => now,
    after(ms: number, run: () => void) {
      const timer = { at: now + ms, run }
      timers.push(timer)
      return () => timers.splice(timers.indexOf(timer), 1)
    },
    pass(ms: number) {
      now += ms
      for (const timer of timers.splice(0).filter(({ at }) => at <= now)) timer.run()
    },
  }
}

const store = async (writes: number) => {
  const made = await open(memoryEngine())
  for (let i = 0; i < writes; i++) await made.put('kv/a', bytes(String(i)))
  return made
}

const turn = () => new Promise((resolve) => setImmediate(resolve))
const indexes = (read: LogRead) => (read === 'trimmed' ? read : read.records.map(({ index }) => index))

test('who asks for the same gets the same array, whichever link it is', async () => {
  const { log, put } = await store(3)
  const runtime = manualRuntime()
  const reads = logReads(log, runtime)
  expect(logReads(log, runtime)).toBe(reads)
  const [one, two, other] = await Promise.all([reads.read(0, 1e6), reads.read(0, 1e6), reads.read(1, 1e6)])
  expect(indexes(one)).toEqual([1, 2, 3])
  expect(two).toBe(one)
  expect(indexes(other)).toEqual([2, 3])
  expect(one).toMatchObject({ end: log.head() })
  await put('kv/a', bytes('new'))
})

test('few records just after a read wait for more, many do not', async () => {
  const { log, put } = await store(1)
  const runtime = manualRuntime()
  const reads = logReads(log, runtime)
  expect(indexes(await reads.read(0, 1e6))).toEqual([1])

  await put('kv/a', bytes('two'))
  let found: LogRead | undefined
  const waiting = reads.read(1, 1e6).then((read) => {
    found = read
  })
  await turn()
  expect(found).toBeUndefined()
  await put('kv/a', bytes('three'))
  runtime.pass(10)
  await waiting
  expect(indexes(found!)).toEqual([2, 3])

  for (let i = 0; i < 128; i++) await put('kv/a', bytes(`more ${i}`))
  expect(indexes(await reads.read(3, 1e6))).toHaveLength(128)
})

test('a read fails for all who wait for it, and a trimmed log is an answer', async () => {
  const { log } = await store(10)
  const runtime = manualRuntime()
  const failing = logReads({ ...log, read: () => Promise.reject(new Error('disk')) }, runtime)
  const results = await Promise.allSettled([failing.read(0, 1), failing.read(0, 1)])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  log.retain('a', 10)
  await log.trim()
  expect(await logReads(log, runtime).read(3, 1e6)).toBe('trimmed')
})
