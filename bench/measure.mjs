/** One operation measured on every contender, in rounds that take turns, so that noise of the machine hits all alike. */
import { histogram } from './load/histogram.mjs'
import { cpuSeconds, familyCpuSeconds, memory } from './process-cost.mjs'

const WARM_UP_SECONDS = 1.5

export async function measure(operation, contenders, load, { seconds, rounds, connections }) {
  const results = new Map()
  for (const contender of contenders) {
    const requests = await operation.prepare(contender)
    results.set(contender, {
      requests,
      count: 0,
      seconds: 0,
      cpu: 0,
      storageCpu: 0,
      generatorCpu: 0,
      latencies: histogram(),
    })
  }
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? contenders : [...contenders].reverse()
    for (const contender of order) {
      const result = results.get(contender)
      const job = { port: contender.port, connections, requests: result.requests }
      await load.run({ ...job, seconds: WARM_UP_SECONDS })
      const [before, storageBefore] = [cpuSeconds(contender.pid), storageCpu(contender)]
      const run = await load.run({ ...job, seconds })
      result.cpu += cpuSeconds(contender.pid) - before
      result.storageCpu += storageCpu(contender) - storageBefore
      result.count += run.requests
      result.seconds += run.seconds
      result.generatorCpu += run.cpu
      result.latencies.merge(run.latencies)
    }
  }
  return contenders.map((contender) => {
    const { count, seconds: time, cpu, storageCpu, generatorCpu, latencies } = results.get(contender)
    return {
      operation: operation.name,
      contender: contender.name,
      requestsPerSecond: count / time,
      p50: latencies.percentile(0.5),
      p99: latencies.percentile(0.99),
      cpuPerThousand: (cpu / count) * 1000,
      storageCpuPerThousand: (storageCpu / count) * 1000,
      generatorCpuShare: generatorCpu / time,
      memory: memory(contender.pid).now,
    }
  })
}

/** Of the database server, where the storage is one. */
function storageCpu({ storagePid }) {
  return storagePid === undefined ? 0 : familyCpuSeconds(storagePid)
}
