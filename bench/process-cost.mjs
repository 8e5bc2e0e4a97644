/** What a process has used, from Linux's /proc. */
import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_SECOND = 100

/** CPU seconds so far, user and system, of all threads. */
export function cpuSeconds(pid) {
  const fields = statOf(pid)
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** The same of the process with its children, those that have ended included: of a database server with a process per connection. */
export function familyCpuSeconds(pid) {
  const fields = statOf(pid)
  let seconds = cpuSeconds(pid) + (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND
  for (const child of childrenOf(pid)) {
    try {
      seconds += familyCpuSeconds(child)
    } catch {
      // It ended just now: what it used is the parent's with the next look.
    }
  }
  return seconds
}

/** Resident memory now and at its highest, MiB. */
export function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)[1]) / 1024
  return { now: field('VmRSS'), peak: field('VmHWM') }
}

function statOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function childrenOf(pid) {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
  )
}
