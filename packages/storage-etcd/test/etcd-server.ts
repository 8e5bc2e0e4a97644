import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface EtcdServer {
  /** `http://127.0.0.1:<port>`, or `https` with `tls`. */
  readonly url: string
  readonly directory: string
  readonly pid: number
  /** Ends the process, at once by default, and leaves the data. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** SIGSTOP; resolves when it does nothing any more. */
  pause(): Promise<void>
  resume(): void
  /** Starts it again on the same data and ports. */
  start(): Promise<void>
  /** Ends the process and removes the data. */
  stop(): Promise<void>
}

export interface EtcdServerOptions {
  /** More of etcd's arguments. */
  args?: readonly string[]
  /** Files for `https`. */
  tls?: { cert: string; key: string; ca: string }
}

const PROGRAM = 'etcd'

/** Starts an etcd of one member on the loopback interface. Rejects with what to install when there is none. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-etcd-'))
  const [clientPort, peerPort] = await freePorts(2)
  const url = `${options.tls ? 'https' : 'http'}://127.0.0.1:${clientPort}`
  const peer = `http://127.0.0.1:${peerPort}`
  const args = [
    ...['--name', 'test', '--data-dir', join(directory, 'data'), '--log-level', 'error', '--logger', 'zap'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `test=${peer}`],
    ...(options.tls
      ? [
          '--cert-file',
          options.tls.cert,
          '--key-file',
          options.tls.key,
          '--trusted-ca-file',
          options.tls.ca,
          '--client-cert-auth',
        ]
      : []),
    ...(options.args ?? []),
  ]
  let child: ChildProcess | undefined

  const server = {
    url,
    directory,
    get pid() {
      return child!.pid!
    },
    async pause() {
      process.kill(server.pid, 'SIGSTOP')
      while (!isStopped(server.pid)) await sleep(1)
    },
    resume() {
      process.kill(server.pid, 'SIGCONT')
    },
    async kill(signal: NodeJS.Signals = 'SIGKILL') {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill(signal)
      await exited
    },
    async start() {
      const started = spawn(PROGRAM, args, { stdio: ['ignore', 'ignore', 'pipe'] })
      child = started
      let log = ''
      started.stderr!.on('data', (text: Buffer) => {
        log = (log + text.toString()).slice(-4000)
      })
      let failure: Error | undefined
      started.on('error', (error: NodeJS.ErrnoException) => {
        failure =
          error.code === 'ENOENT' ? new Error(`there is no ${PROGRAM} here: apt-get install etcd-server`) : error
      })
      for (let attempt = 0; ; attempt++) {
        if (await answers(clientPort!, options)) return
        if (failure) throw failure
        if (started.exitCode !== null || attempt > 600) throw new Error(`etcd did not start: ${log}`)
        await sleep(50)
      }
    },
    async stop() {
      await server.kill()
      await rm(directory, { recursive: true, force: true })
    },
  }
  try {
    await server.start()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** With TLS that wants a client certificate only the port can be tried. */
async function answers(port: number, { tls }: EtcdServerOptions): Promise<boolean> {
  if (tls) {
    const { connect } = await import('node:net')
    const socket = connect(port, '127.0.0.1')
    const open = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    return open
  }
  try {
    const reply = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2000) })
    return ((await reply.json()) as { health: string }).health === 'true'
  } catch {
    return false
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  for (const server of servers) server.close()
  await Promise.all(servers.map((server) => once(server, 'close')))
  return ports
}

/** Each thread stops for itself, a moment after the signal was sent. */
function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((task) => {
      const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1')
      return stat[stat.lastIndexOf(')') + 2] === 'T'
    })
  } catch {
    // A thread ended meanwhile.
    return false
  }
}
