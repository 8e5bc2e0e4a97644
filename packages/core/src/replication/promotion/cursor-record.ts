import type { Cursor } from '@lockstep/replication'

/** A place in a log as it is stored and shown: the digest in hex. */
export interface CursorRecord {
  epoch: number
  index: number
  digest: string
}

export function cursorRecord({ epoch, index, digest }: Cursor): CursorRecord {
  return { epoch, index, digest: Buffer.from(digest).toString('hex') }
}

export function cursorOf({ epoch, index, digest }: CursorRecord): Cursor {
  return { epoch, index, digest: Buffer.from(digest, 'hex') }
}
