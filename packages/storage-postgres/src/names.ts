import { createHash } from 'node:crypto'

/** What the tables of one store are called. */
export interface Names {
  readonly entries: string
  readonly meta: string
  readonly leaders: string
}

/** `table` becomes part of SQL, so only plain lower-case names pass. */
export function namesOf(table = 'lockstep'): Names {
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(table)) {
    throw new TypeError('expected a table name of at most 40 lower-case letters, digits and underscores')
  }
  return { entries: table, meta: `${table}_meta`, leaders: `${table}_leaders` }
}

/** A number for an advisory lock; the same for every node that means the same thing. */
export function advisoryKey(...parts: string[]): bigint {
  return createHash('sha256').update(parts.join('\0')).digest().readBigInt64BE(0)
}
