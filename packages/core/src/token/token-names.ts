/**
 * What is derived from a token id, all one-way and keyed with the cluster's token salt: the accessor from the id, and the name
 * under which everything of the token is stored from the accessor. One record thus serves lookups by id and by accessor.
 */
import { createHmac } from 'node:crypto'
import { digestBase62 } from './base62.ts'

const ACCESSOR_LENGTH = 24

export interface TokenNames {
  /** 24 base62 characters. */
  accessor(id: string): string
  /** `h` and 64 hex digits: key of the record, of indices, of the cubbyhole, last part of the token's lease id. */
  name(accessor: string): string
}

export function tokenNames(salt: Uint8Array): TokenNames {
  const digest = (text: string) => createHmac('sha256', salt).update(text).digest()
  return {
    accessor: (id) => digestBase62(digest(`accessor:${id}`), ACCESSOR_LENGTH),
    name: (accessor) => `h${createHmac('sha256', salt).update(`name:${accessor}`).digest('hex')}`,
  }
}
