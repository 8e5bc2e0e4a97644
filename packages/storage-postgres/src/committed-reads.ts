import {
  boundsOf,
  childName,
  type Entry,
  isEmptyRange,
  type ListOptions,
  listBounds,
  type ScanRange,
} from '@lockstep/storage'
import { successor } from './bytes.ts'
import type { Statement } from './lane.ts'
import { byteRange, type Statements } from './statements.ts'

export const FIRST_PAGE = 16
const LARGEST_PAGE = 1024
/** Children per statement of a list: a step in the index for each, and no statement takes long. */
const LIST_PAGE = 10_000
/** Values in a page of a scan, bytes; the last one may go beyond. */
const PAGE_BYTES = 1024 * 1024

/** Runs one statement, in a snapshot of the caller's choice. */
export type Run = <Row extends unknown[]>(statement: Statement) => Promise<Row[]>

export async function getOne(run: Run, statements: Statements, key: string): Promise<Uint8Array | undefined> {
  const [row] = await run<[Uint8Array]>(statements.get(key))
  return row?.[0]
}

export async function getSeveral(
  run: Run,
  statements: Statements,
  keys: readonly string[],
): Promise<(Uint8Array | undefined)[]> {
  if (keys.length === 0) return []
  const rows = await run<[Uint8Array | null]>(statements.getMany(keys))
  return rows.map(([value]) => value ?? undefined)
}

/** The first children, at most `LIST_PAGE` of them; `next`: the last of them, when more are wanted and may follow. */
export async function listPage(
  run: Run,
  statements: Statements,
  prefix: string,
  options: ListOptions,
): Promise<{ names: string[]; next: string | undefined }> {
  const { limit = Number.POSITIVE_INFINITY } = options
  if (limit <= 0) return { names: [], next: undefined }
  const bounds = listBounds(prefix, options)
  if (isEmptyRange(bounds)) return { names: [], next: undefined }
  const wanted = Math.min(limit, LIST_PAGE)
  const rows = await run<[Buffer]>(statements.list(prefix, byteRange(bounds), wanted))
  const names = rows.map(([key]) => childName(prefix, key.toString()))
  return { names, next: names.length === wanted && wanted < limit ? names.at(-1) : undefined }
}

/** Page by page; `run` must stay in one snapshot when there may be more than `LIST_PAGE` children. */
export async function listChildren(
  run: Run,
  statements: Statements,
  prefix: string,
  options: ListOptions,
): Promise<string[]> {
  const all: string[] = []
  for (let after = options.after; ; ) {
    const left = options.limit === undefined ? {} : { limit: options.limit - all.length }
    const { names, next } = await listPage(run, statements, prefix, { ...(after !== undefined && { after }), ...left })
    for (const name of names) all.push(name)
    if (next === undefined) return all
    after = next
  }
}

/** Pages through a range; `run` must stay in one snapshot when there may be more than `FIRST_PAGE` entries. */
export async function* scanPages(run: Run, statements: Statements, range: ScanRange): AsyncGenerator<Entry> {
  let left = range.limit ?? Number.POSITIVE_INFINITY
  const bounds = boundsOf(range)
  if (left <= 0 || isEmptyRange(bounds)) return
  const rest = byteRange(bounds)
  // A short scan is one page, whatever its size, so that it needs no transaction.
  const pageBytes = left <= FIRST_PAGE ? Number.MAX_SAFE_INTEGER : PAGE_BYTES
  for (let size = FIRST_PAGE; left > 0; ) {
    const wanted = Math.min(size, left)
    const page = await run<[Buffer, Uint8Array]>(statements.scan(rest, range.reverse ?? false, wanted, pageBytes))
    let bytes = 0
    let last = ''
    for (const [keyBytes, value] of page) {
      last = keyBytes.toString()
      bytes += value.byteLength
      yield [last, value]
    }
    if (page.length < wanted && bytes < pageBytes) return
    left -= page.length
    if (range.reverse) rest.upper = Buffer.from(last)
    else rest.lower = successor(last)
    size = Math.min(size * 4, LARGEST_PAGE)
  }
}
