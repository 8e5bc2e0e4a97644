/** A logged store on LevelDB in a process of its own, replicated over real TLS, and how another process speaks to it. */
import { spawn } from 'node:child_process'
import { createReplicationCa, issuePrimaryServer, issueSecondary, primaryServerName } from '@lockstep/bootstrap'
import { cpuSeconds, memory } from '../process-cost.mjs'

const PROGRAM = new URL('store-process.mjs', import.meta.url).pathname
const CLUSTER_ID = 'bench'

/** Starts the process, on one CPU when `cpu` is a number. `call(method, ...arguments)` runs a method of store-process.mjs. */
export async function startProcess({ name, directory, cpu, nodeArgs = [], options = {} }) {
  const command = [process.execPath, ...nodeArgs, PROGRAM]
  if (cpu !== undefined) command.unshift('taskset', '-c', String(cpu))
  const child = spawn(command[0], command.slice(1), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
  })
  const waiting = new Map()
  let lastId = 0
  child.on('message', ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) resolve(result)
    else reject(new Error(`${name}: ${error}`))
  })
  const exited = new Promise((resolve) => child.on('exit', resolve))
  exited.then((code) => {
    for (const { reject } of waiting.values()) reject(new Error(`${name} exited with ${code}`))
  })
  const call = (method, ...parameters) =>
    new Promise((resolve, reject) => {
      const id = ++lastId
      waiting.set(id, { resolve, reject })
      child.send({ id, method, parameters })
    })
  await call('open', { directory, ...options })
  return {
    name,
    pid: child.pid,
    call,
    cpuSeconds: () => cpuSeconds(child.pid),
    memory: () => memory(child.pid),
    signal: (signal) => child.kill(signal),
    async stop() {
      if (child.exitCode !== null) return
      await call('close').catch(() => {})
      child.disconnect()
      await exited
    },
  }
}

/** Certificates of one replication set: what the primary serves with, and a secondary's own. */
export async function replicationSet() {
  const now = Date.now()
  const ca = await createReplicationCa({ clusterId: CLUSTER_ID, now })
  const server = await issuePrimaryServer(ca, { now })
  const shared = { ca: ca.certificatePem, servername: primaryServerName(CLUSTER_ID), clusterId: CLUSTER_ID }
  return {
    primary: { ...shared, cert: server.certificatePem, key: server.privateKeyPem },
    async secondary(id) {
      const issued = await issueSecondary(ca, { id, now })
      return { ...shared, id, cert: issued.certificatePem, key: issued.privateKeyPem }
    },
  }
}

/** Waits until the secondary streams, has applied the primary's head, and both ends have one root. Seconds it took. */
export async function untilInSync(primary, secondary, { timeoutMs = 300_000 } = {}) {
  const started = performance.now()
  for (;;) {
    const { state, index } = await secondary.call('status')
    const head = await primary.call('head')
    if (state === 'stream-wals' && index === head) {
      const seconds = (performance.now() - started) / 1000
      const roots = [await primary.call('root'), await secondary.call('root')]
      if (roots[0] === roots[1]) return seconds
    }
    if (performance.now() - started > timeoutMs) throw new Error(`not in sync after ${timeoutMs} ms: ${state}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
