/**
 * One worker thread that holds the parser, started on demand and ended when idle, so that its memory (about 25 MB) is not
 * resident and a text that makes it run away can be stopped. It parses one text at a time, in order.
 */
import { Worker } from 'node:worker_threads'
import { HclError } from './errors.ts'
import { WORKER_SOURCE } from './worker-source.ts'

const IDLE_MS = 5_000
/** By the clock a text may take this many times the processor time it is given. */
const PATIENCE = 12
const MAX_WAITING = 1024

interface Job {
  text: string
  timer: NodeJS.Timeout
  resolve(json: string): void
  reject(error: HclError): void
}

type Answer = { id: number; json?: string; error?: string; failed?: string }

const waiting: Job[] = []
let running: { id: number; job: Job } | undefined
let worker: Worker | undefined
let idle: NodeJS.Timeout | undefined
let lastId = 0

/**
 * The parser's JSON text. `timeoutMs` is processor time of this process from now, waiting included: a text that runs away burns it, a
 * machine that is busy with other things does not.
 */
export function parseInWorker(text: string, timeoutMs: number): Promise<string> {
  if (waiting.length >= MAX_WAITING) {
    return Promise.reject(new HclError('HCL_PARSER_FAILED', 'too many texts are waiting to be parsed'))
  }
  return new Promise((resolve, reject) => {
    const job: Job = { text, resolve, reject, timer: setTimeout(expired, timeoutMs) }
    const [used, deadline] = [process.cpuUsage(), performance.now() + timeoutMs * PATIENCE]
    function expired(): void {
      const { user, system } = process.cpuUsage(used)
      const left = Math.min(timeoutMs - (user + system) / 1000, deadline - performance.now())
      if (left > 0) job.timer = setTimeout(expired, Math.ceil(left))
      else giveUp(job, timeoutMs)
    }
    waiting.push(job)
    next()
  })
}

function next(): void {
  if (running !== undefined) return
  const job = waiting.shift()
  if (job === undefined) {
    restWhenIdle()
    return
  }
  clearTimeout(idle)
  running = { id: ++lastId, job }
  try {
    worker ??= start()
    worker.ref()
    worker.postMessage({ id: running.id, text: job.text })
  } catch {
    finish((failed) => failed.reject(new HclError('HCL_PARSER_FAILED', 'the HCL parser could not be started')))
  }
}

function start(): Worker {
  const started = new Worker(WORKER_SOURCE, {
    eval: true,
    // Nothing of the host's loaders, environment or streams is needed.
    execArgv: [],
    env: {},
    stdout: true,
    stderr: true,
    workerData: { resolveFrom: import.meta.url },
    resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 },
  })
  started.on('message', (answer: Answer) => {
    if (started !== worker || answer.id !== running?.id) return
    // A parser that threw has left its Go runtime in an undefined state.
    if (answer.failed !== undefined) discard()
    finish((job) => settle(job, answer))
  })
  const died = () => {
    if (started !== worker) return
    discard()
    finish((job) => job.reject(new HclError('HCL_PARSER_FAILED', 'the HCL parser ran out of resources')))
  }
  started.on('error', died)
  started.on('exit', died)
  return started
}

function settle(job: Job, answer: Answer): void {
  if (answer.json !== undefined) job.resolve(answer.json)
  else if (answer.error !== undefined) job.reject(syntaxError(answer.error))
  else job.reject(new HclError('HCL_PARSER_FAILED', `the HCL parser failed: ${answer.failed}`))
}

function finish(report: (job: Job) => void): void {
  const finished = running
  running = undefined
  if (finished !== undefined) {
    clearTimeout(finished.job.timer)
    report(finished.job)
  }
  next()
}

function giveUp(job: Job, timeoutMs: number): void {
  const error = new HclError('HCL_TIMEOUT', `not parsed within ${timeoutMs} ms`)
  if (running?.job === job) {
    discard()
    finish(() => job.reject(error))
    return
  }
  waiting.splice(waiting.indexOf(job), 1)
  job.reject(error)
}

function discard(): void {
  const ended = worker
  worker = undefined
  void ended?.terminate()
}

function restWhenIdle(): void {
  // An idle worker must not keep the process alive.
  worker?.unref()
  clearTimeout(idle)
  idle = setTimeout(discard, IDLE_MS)
  idle.unref()
}

/**
 * The parser says `At 3:14: message`, `3:14: message`, or a message alone. It repeats the key or token it stands at, which may be a value that
 * lost its place, and those are nobody's to read in a log.
 */
function syntaxError(words: string): HclError {
  const message = words
    .replace(/key '[\s\S]*' expected/, 'after this key expected')
    .replace(/(Unknown token: \S+ [A-Z]+) [\s\S]*/, '$1')
  const match = /^(?:At )?(\d+):(\d+): ([\s\S]*)$/.exec(message)
  if (match === null) return new HclError('HCL_SYNTAX', message)
  const [line, column] = [Number(match[1]), Number(match[2])]
  return new HclError('HCL_SYNTAX', `At ${line}:${column}: ${match[3]}`, { line, column })
}
