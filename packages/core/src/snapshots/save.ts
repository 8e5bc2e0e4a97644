/** Takes a snapshot: one consistent read of the storage while writes go on, ciphertext as it is stored. */
import type { Readable } from 'node:stream'
import { copiedHead, rowCopy } from '@lockstep/replication-driver'
import type { Entry, Store } from '@lockstep/storage'
import type { Clock } from '../contracts.ts'
import { writeArchive } from './archive.ts'
import { encodeMeta, type SnapshotMeta } from './meta.ts'
import { SnapshotError } from './snapshot-error.ts'
import { spool } from './spool.ts'
import { encodeState } from './state-codec.ts'
import type { SumsSeal } from './sums-seal.ts'

export interface SaveComponents {
  /** The rows of the current generation. */
  rows: Pick<Store, 'scan'>
  seal: SumsSeal
  clock: Clock
}

export interface SaveOptions extends Pick<SnapshotMeta, 'clusterId' | 'clusterName' | 'sealType'> {
  /** Where it is kept while it is sent. */
  directory: string
  /** Most bytes before compression. */
  maxBytes: number
}

/** An archive to be read to its end or destroyed. */
export async function takeSnapshot({ rows, seal, clock }: SaveComponents, options: SaveOptions): Promise<Readable> {
  const { directory, maxBytes, ...cluster } = options
  const takenAt = clock.now()
  let head: Uint8Array | undefined

  async function* copied(): AsyncGenerator<Entry> {
    for await (const entry of rows.scan({ before: rowCopy.before })) {
      if (entry[0] === rowCopy.head) head = entry[1]
      if (rowCopy.includes(entry[0])) yield entry
    }
  }

  const state = await spool(directory, encodeState(copied()), maxBytes)
  try {
    if (head === undefined) throw new SnapshotError('the storage has no log head')
    const { epoch, index } = copiedHead(head)
    const meta = encodeMeta({ ...cluster, takenAt, epoch, index }, state.size)
    const archive = writeArchive({ meta, state, seal: (sums) => seal.seal(sums) }, new Date(takenAt))
    archive.on('close', () => void state.close().catch(() => {}))
    return archive
  } catch (error) {
    await state.close()
    throw error
  }
}
