/** One `lockstep server` process, started, stopped and killed by its own pid. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)

export interface ServerProcess {
  readonly pid: number
  /** Everything it wrote to stdout and stderr so far (the last 256 KiB). */
  output(): string
  /** Sends the signal and resolves with the exit code once it has ended (null when a signal ended it). */
  stop(signal?: NodeJS.Signals): Promise<number | null>
  readonly exited: Promise<number | null>
  signal(signal: NodeJS.Signals): void
}

/** Resolves when the server says that it is listening. Rejects with its output when it exits first. */
export function startServerProcess(
  args: readonly string[],
  options: { env?: Record<string, string>; logFile?: string; timeoutMs?: number; nodeArgs?: readonly string[] } = {},
): Promise<ServerProcess> {
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), serverBin(), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, VAULT_TOKEN: '', ...options.env },
  })
  const log = options.logFile === undefined ? undefined : createWriteStream(options.logFile, { flags: 'a' })
  let output = ''
  const exited = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`server did not start in time:\n${output}`))
    }, options.timeoutMs ?? 60_000)
    const keep = (chunk: Buffer): void => {
      log?.write(chunk)
      output = (output + chunk.toString('utf8')).slice(-256 * 1024)
      if (!output.includes('server started!')) return
      clearTimeout(timer)
      resolve(running(child, exited, () => output))
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', reject)
    void exited.then((code) => {
      clearTimeout(timer)
      log?.end()
      reject(new Error(`server exited with ${code}:\n${output}`))
    })
  })
}

function running(child: ChildProcess, exited: Promise<number | null>, output: () => string): ServerProcess {
  return {
    pid: child.pid!,
    output,
    exited,
    signal: (signal) => void child.kill(signal),
    stop(signal = 'SIGTERM') {
      child.kill(signal)
      return exited
    },
  }
}

/** The built server's command-line entry. */
function serverBin(): string {
  const bin = join(dirname(require.resolve('@lockstep/server/package.json')), 'bin', 'lockstep.js')
  if (!existsSync(join(dirname(bin), '..', 'dist', 'main.js')))
    throw new Error('the server is not built: run `npm run build` first')
  return bin
}
