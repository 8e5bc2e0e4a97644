import { expect, test } from 'vitest'
import { ReadQueue } from '../src/read-queue.ts'

/** Reads that finish when told to. */
function controlled() {
  const jobs: { keys: string[]; finish(error?: Error): void }[] = []
  const job = (keys: string[]) =>
    new Promise<Uint8Array[]>((resolve, reject) => {
      jobs.push({
        keys,
        finish: (error) => (error ? reject(error) : resolve(keys.map((key) => new TextEncoder().encode(key)))),
      })
    })
  const queue = new ReadQueue({ get: (key) => job([key]).then(([value]) => value), getMany: job }, { jobs: 2 })
  return { jobs, queue }
}

test('reads beyond the jobs under way share the next job, each gets its own value', async () => {
  const { jobs, queue } = controlled()
  const values = ['a', 'b', 'c', 'd', 'e'].map((key) => queue.get(key))
  expect(jobs.map((job) => job.keys)).toEqual([['a'], ['b']])
  jobs[0]!.finish()
  await values[0]
  expect(jobs.map((job) => job.keys)).toEqual([['a'], ['b'], ['c', 'd', 'e']])
  jobs[1]!.finish()
  jobs[2]!.finish()
  expect((await Promise.all(values)).map((value) => new TextDecoder().decode(value))).toEqual(['a', 'b', 'c', 'd', 'e'])
})

test('a failed job rejects its own reads only and the queue goes on', async () => {
  const { jobs, queue } = controlled()
  const values = ['a', 'b', 'c', 'd'].map((key) =>
    queue.get(key).then(
      (value) => value?.length,
      (error: Error) => error.message,
    ),
  )
  jobs[0]!.finish(new Error('disk'))
  await values[0]
  jobs[2]!.finish(new Error('disk again'))
  jobs[1]!.finish()
  expect(await Promise.all(values)).toEqual(['disk', 1, 'disk again', 'disk again'])
  const later = queue.get('later')
  jobs[3]!.finish()
  expect((await later)?.length).toBe(5)
})
