/** What a stopped server's LevelDB directory holds, byte for byte and key for key. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cluster } from '@lockstep/dev-env'
import { ClassicLevel } from 'classic-level'

export interface Disk {
  /** Raw bytes of all files, as latin1: what any search of the disk would see. */
  bytes: string
  /** Every key of the database, as latin1, also those that the files hold compressed. */
  keys: string[]
  /** Whether the text is anywhere, in the bytes or in a key. */
  holds(text: string): boolean
}

/** The server must have been stopped. */
export async function onDisk(cluster: Cluster): Promise<Disk> {
  const directory = join(cluster.directory, 'data')
  const files = await readdir(directory, { withFileTypes: true, recursive: true })
  const chunks = await Promise.all(
    files.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name))),
  )
  const bytes = Buffer.concat(chunks).toString('latin1')
  const database = new ClassicLevel<Buffer, Buffer>(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const keys: string[] = []
  const values: string[] = []
  for await (const [key, value] of database.iterator()) {
    keys.push(key.toString('latin1'))
    values.push(value.toString('latin1'))
  }
  await database.close()
  const all = [bytes, keys.join('\n'), values.join('\n')]
  return { bytes, keys, holds: (text) => all.some((part) => part.includes(text)) }
}
