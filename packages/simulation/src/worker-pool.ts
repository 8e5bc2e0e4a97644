/** Processes that share out ranges of seeds. */
import { type ChildProcess, fork } from 'node:child_process'

/** Seeds from `from` up to, not including, `to`. */
export interface Job {
  from: number
  to: number
  /** Runs each seed twice and compares. */
  twice: boolean
  stopAtFirst: boolean
}

export interface Finding {
  seed: number
  invariant: string
  message: string
  trace: readonly string[]
}

export interface Report {
  seeds: number
  events: number
  virtualMs: number
  acknowledged: number
  diffs: number
  findings: Finding[]
}

export interface SimulationWorker {
  run(job: Job): Promise<Report>
  end(): void
}

export function simulationWorker(plantedBug?: string): SimulationWorker {
  const planting = plantedBug === undefined ? [] : ['--import', new URL('./plant-bug.js', import.meta.url).href]
  const child: ChildProcess = fork(new URL('./worker.js', import.meta.url), {
    execArgv: ['--max-semi-space-size=32', ...planting],
    env: { ...process.env, LOCKSTEP_PLANTED_BUG: plantedBug ?? '' },
  })
  return {
    run: (job) =>
      new Promise((resolve, reject) => {
        const onExit = (code: number | null): void => reject(new Error(`a worker ended with code ${code}`))
        child.once('exit', onExit)
        child.once('message', (report) => {
          child.off('exit', onExit)
          resolve(report as Report)
        })
        child.send(job)
      }),
    end: () => void child.kill(),
  }
}
