import { execFileSync } from 'node:child_process'
import { chown, mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Client } from 'pg'
import type { PostgresServer } from './postgres-server.ts'

export interface SmallDisk {
  grow(megabytes: number): void
  remove(): Promise<void>
}

/** From now on new tables are on a disk of this size, a mounted tmpfs: needs root. */
export async function smallDisk(server: PostgresServer, admin: Client, megabytes: number): Promise<SmallDisk> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-small-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=1777`, 'tmpfs', directory])
  const space = join(directory, 'space')
  await mkdir(space)
  const { uid, gid } = await stat(server.connection.host)
  await chown(space, uid, gid)
  await admin.query(`CREATE TABLESPACE small LOCATION '${space}'`)
  await admin.query('ALTER DATABASE postgres SET default_tablespace = small')
  return {
    grow: (size) => void execFileSync('mount', ['-o', `remount,size=${size}m`, directory]),
    async remove() {
      execFileSync('umount', ['--lazy', directory])
      await rm(directory, { recursive: true, force: true })
    },
  }
}
