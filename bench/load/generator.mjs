/** The load generator's process: takes a job over IPC, answers with what it measured. */
import { drive } from './connection.mjs'
import { histogram } from './histogram.mjs'

process.on('message', async (job) => {
  try {
    process.send({ result: await run(job) })
  } catch (error) {
    process.send({ error: error.message })
  }
})

/**
 * For `seconds`, or, with `count`, until that many requests are answered. The requests are sent in turn, from the start again after
 * the last. `rate`: requests per second at most. An answer other than 200 or 204 ends the job.
 */
async function run({ port, connections, seconds, requests, count, rate }) {
  const serialised = expanded(requests)
  const latencies = histogram()
  const last = count ?? Number.POSITIVE_INFINITY
  const until = count === undefined ? seconds * 1e6 : Number.POSITIVE_INFINITY
  const pause = rate === undefined ? 0 : (connections / rate) * 1e6
  let next = 0
  let answered = 0
  const begin = process.hrtime.bigint()
  const cpuAtStart = process.cpuUsage()
  const microseconds = () => Number(process.hrtime.bigint() - begin) / 1000

  await Promise.all(
    Array.from({ length: connections }, (_, place) => {
      let sent = 0
      let due = (pause * place) / connections
      return drive(port, {
        next() {
          sent = microseconds()
          return sent >= until || next >= last ? undefined : serialised[next++ % serialised.length]
        },
        answered(status, bytes) {
          if (status !== 200 && status !== 204) return new Error(bytes.toString('latin1').slice(0, 500))
          const now = microseconds()
          if (now < until) {
            answered++
            latencies.record(now - sent)
          }
          return undefined
        },
        /** Milliseconds to wait before the next request. */
        wait() {
          if (pause === 0) return 0
          due = Math.max(due + pause, microseconds() - pause)
          return (due - microseconds()) / 1000
        },
      })
    }),
  )
  const cpu = process.cpuUsage(cpuAtStart)
  return {
    requests: answered,
    seconds: count === undefined ? seconds : microseconds() / 1e6,
    latencies: latencies.counts,
    cpu: (cpu.user + cpu.system) / 1e6,
  }
}

/** A list of texts, or `{ text, from, count }`: as many copies, in which `@@@@@@@` is a number of seven digits. */
function expanded(requests) {
  if (Array.isArray(requests)) return requests.map((text) => Buffer.from(text))
  const { text, from, count } = requests
  return Array.from({ length: count }, (_, n) =>
    Buffer.from(text.replaceAll('@@@@@@@', String(from + n).padStart(7, '0'))),
  )
}
