import { simulate } from './index.ts'

const seed = Number(process.argv[2] ?? 1)
const count = Number(process.argv[3] ?? 1)
const start = Date.now()
let events = 0,
  acked = 0,
  diffs = 0,
  failed = 0
for (let n = seed; n < seed + count; n++) {
  const outcome = await simulate(n, count === 1 ? { print: console.log } : {})
  events += outcome.events
  acked += outcome.acknowledged
  diffs += outcome.diffs
  if (outcome.failure) {
    failed++
    console.log(n, outcome.failure.message.slice(0, 400))
  }
}
console.log({
  ms: (Date.now() - start) / count,
  events: events / count,
  acked: acked / count,
  diffs: diffs / count,
  failed,
})
