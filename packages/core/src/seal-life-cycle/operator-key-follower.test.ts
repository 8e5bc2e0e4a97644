import { expect, test } from 'vitest'
import { operatorKeyFollower } from './operator-key-follower.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }

test('looks follow each other: what was read first is never put in force last', async () => {
  const begun: (() => void)[] = []
  const inForce: number[] = []
  let told = 0
  const follower = operatorKeyFollower(
    {
      async followOperatorKey() {
        const read = ++told
        await new Promise<void>((resolve) => begun.push(resolve))
        inForce.push(read)
      },
      async tellOperatorKey() {},
    },
    () => true,
    log,
  )
  follower.look()
  await expect.poll(() => begun.length).toBe(1)
  follower.look()
  follower.look()
  await new Promise((resolve) => setImmediate(resolve))
  expect(told).toBe(1)
  begun[0]!()
  await expect.poll(() => begun.length, { timeout: 60_000 }).toBe(2)
  begun[1]!()
  await follower.stop()
  expect(inForce).toEqual([1, 2])
})
