import type { WriteOperation } from '@lockstep/storage'
import { expect, test } from 'vitest'
import { simulatedDisk } from '../src/disk.ts'
import { kernel, type Process } from '../src/kernel.ts'

function machine(seed: number) {
  const core = kernel(seed)
  const durable: string[] = []
  let process: Process = core.process('one')
  const disk = simulatedDisk({
    kernel: core,
    name: 'one',
    onDurable: (operations) => durable.push(...operations.map(({ key }) => key)),
    crash: () => process.kill(),
  })
  const put = (key: string): WriteOperation => ({ type: 'put', key, value: Buffer.from(key) })
  return {
    core,
    disk,
    durable,
    put,
    restart() {
      process.kill()
      process = core.process('one')
      return disk.open(process)
    },
    async until<T>(promise: Promise<T>): Promise<T> {
      let done = false
      promise.then(
        () => {
          done = true
        },
        () => {
          done = true
        },
      )
      await core.run(() => done)
      return promise
    },
  }
}

test('what was answered is there after a crash, and what was not is there whole or not at all', async () => {
  let lost = 0
  let kept = 0
  for (let seed = 1; seed <= 60; seed++) {
    const { core, disk, durable, put, restart, until } = machine(seed)
    let engine = await restart()
    await until(engine.write([put('a'), put('b')]))
    expect(durable).toEqual(['a', 'b'])
    disk.crashIn(2)
    let answered = false
    void engine.write([put('c'), put('d')]).then(() => {
      answered = true
    })
    core.at(1000, () => {})
    const end = core.now() + 500
    await core.run(() => core.now() > end)
    expect(answered).toBe(false)
    engine = await restart()
    const [a, b, c, d] = await engine.getMany(['a', 'b', 'c', 'd'])
    expect([a, b]).toEqual([Buffer.from('a'), Buffer.from('b')])
    expect(c === undefined).toBe(d === undefined)
    if (c === undefined) lost++
    else kept++
  }
  expect(lost).toBeGreaterThan(5)
  expect(kept).toBeGreaterThan(5)
})

test('a flipped bit is found, by a read and when the file is opened', async () => {
  const { disk, put, restart, until } = machine(7)
  const engine = await restart()
  for (const key of ['a', 'b', 'c', 'd']) await until(engine.write([put(key)]))
  expect(disk.flipBit()).toBe(true)
  await expect(engine.getMany(['a', 'b', 'c', 'd'])).rejects.toThrow('checksum')
  await expect(restart()).rejects.toThrow('checksum')
  expect(disk.corrupt).toBe(true)
})

test('a failed sync closes the file for writing until it is opened again', async () => {
  const { disk, put, restart, until } = machine(3)
  let engine = await restart()
  disk.faults.syncFails = 1
  await expect(until(engine.write([put('a')]))).rejects.toMatchObject({ code: 'EIO' })
  disk.faults.syncFails = 0
  await expect(until(engine.write([put('b')]))).rejects.toMatchObject({ code: 'EIO' })
  expect(await engine.get('a')).toBeUndefined()
  engine = await restart()
  await until(engine.write([put('c')]))
  expect(await engine.get('b')).toBeUndefined()
})
