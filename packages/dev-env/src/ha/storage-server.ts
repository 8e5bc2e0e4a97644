/** A storage that several nodes share, as real processes on loopback, with a data directory of its own that goes with it. */
import type { ChildProcess } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEtcdServer } from './etcd-server.ts'
import { startPostgresServer } from './postgres-server.ts'
import { processTree, signalTree } from './process-tree.ts'

export type StorageKind = 'postgresql' | 'etcd'

export interface StorageServer {
  readonly kind: StorageKind
  /** `host:port`. */
  readonly address: string
  /** `postgres://…` or `http://…`, for a client of one's own. `through`: another address that leads there, such as a proxy's. */
  url(through?: string): string
  /** The `storage` block of a node. Clusters of different names share nothing; PostgreSQL knows the node's connections by its name. */
  block(of: { cluster: string; node: string }, through?: string): Record<string, unknown>
  /** SIGSTOP to all of its processes: it neither answers nor writes. Its connections stay open. */
  pause(): void
  resume(): void
  /** Ends it and removes its data. Idempotent. */
  stop(): Promise<void>
}

export interface StorageServerOptions {
  /** Where the data directory is made. Default: the system's directory for temporary files. */
  directory?: string
}

/** What the two kinds differ in. */
export interface StorageProgram {
  child: ChildProcess
  address: string
  url(address: string): string
  block(of: { cluster: string; node: string }, address: string): Record<string, unknown>
  /** Ends it in good order. */
  endSignal: NodeJS.Signals
}

/** Rejects with what to install when the program is missing. */
export async function startStorageServer(
  kind: StorageKind,
  options: StorageServerOptions = {},
): Promise<StorageServer> {
  const directory = await mkdtemp(join(options.directory ?? tmpdir(), `lockstep-${kind}-`))
  const remove = (): Promise<void> => rm(directory, { recursive: true, force: true, maxRetries: 5 })
  let program: StorageProgram
  try {
    // Other users' processes, as PostgreSQL's are when the tests run as root, need to get through.
    await chmod(directory, 0o711)
    program = await (kind === 'postgresql' ? startPostgresServer(directory) : startEtcdServer(directory))
  } catch (error) {
    await remove()
    throw error
  }
  const { child, address } = program
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  let stopping: Promise<void> | undefined

  async function end(): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      const tree = processTree(child.pid!)
      signalTree(child.pid!, 'SIGCONT')
      child.kill(program.endSignal)
      const impatient = setTimeout(() => {
        for (const pid of [...tree, ...processTree(child.pid!)]) kill(pid)
      }, 5000)
      await exited
      clearTimeout(impatient)
    }
    await remove()
  }

  return {
    kind,
    address,
    url: (through = address) => program.url(through),
    block: (of, through = address) => program.block(of, through),
    pause: () => signalTree(child.pid!, 'SIGSTOP'),
    resume: () => signalTree(child.pid!, 'SIGCONT'),
    stop() {
      stopping ??= end()
      return stopping
    },
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It is gone.
  }
}
