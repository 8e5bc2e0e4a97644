/** A file system of its own (ext4 in a file, mounted over a loop device) on which writing and fsync can be held up. Needs root. */
import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface FreezableDisk {
  /** Any user may make directories in it. */
  readonly directory: string
  /** Every write and fsync below the directory waits for so long; reading goes on. Resolves when it is over. */
  stall(ms: number): Promise<void>
  close(): Promise<void>
}

const run = promisify(execFile)

export async function freezableDisk(): Promise<FreezableDisk> {
  const home = await mkdtemp(join(tmpdir(), 'lockstep-disk-'))
  // PostgreSQL runs as another user when the tests are root's.
  await chmod(home, 0o711)
  const [image, directory] = [join(home, 'image'), join(home, 'disk')]
  await mkdir(directory)
  await run('truncate', ['-s', '1G', image])
  await run('mkfs.ext4', ['-q', '-F', image])
  await run('mount', ['-o', 'loop', image, directory])
  await chmod(directory, 0o1777)
  return {
    directory,
    async stall(ms) {
      // In a process of its own: the file system must not stay frozen when the test ends early.
      await run('sh', ['-c', 'fsfreeze -f "$1"; sleep "$2"; fsfreeze -u "$1"', 'stall', directory, String(ms / 1000)])
    },
    async close() {
      await run('umount', ['-l', directory])
      await rm(home, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
