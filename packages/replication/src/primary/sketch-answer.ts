/** Answers a secondary's question for a sketch from the live forest, at one moment: nothing is kept for it between two questions. */

import type { ForestReader } from '../merkle/forest.ts'
import { EMPTY_HASH } from '../merkle/trie.ts'
import type { GetSketch, Sketch as SketchMessage } from '../messages.ts'
import { sha256Parts } from '../sha256.ts'
import type { HashKey } from '../sketch/item-hash.ts'
import { addEntries, emptySketch, encodeSymbols } from '../sketch/sketch.ts'
import { sameDigest } from '../wal/cursor.ts'

/** Entries of one sketch at most: about 10 ms of work, during which the process does nothing else. */
const MAX_ENTRIES = 32_768

export function sketchAnswer(
  { forest, shown, key }: { forest: ForestReader; shown: boolean; key: HashKey },
  { round, id, partition, paths, first, state, symbols }: GetSketch,
): SketchMessage {
  const count = shown ? paths.reduce((sum, path) => sum + forest.count(partition, path), 0) : 0
  const now = sha256Parts(...paths.map((path) => (shown ? forest.hashAt(partition, path) : EMPTY_HASH)))
  const none: SketchMessage = { type: 'sketch', round, id, count, state: now, first: 0, symbols: new Uint8Array(0) }
  if (count > MAX_ENTRIES) return none
  const sketch = emptySketch(first + symbols)
  if (shown) for (const path of paths) addEntries(sketch, forest.entriesUnder(partition, path), key)
  // Symbols of two states do not fit each other.
  const from = state && sameDigest(state, now) ? first : 0
  return { ...none, first: from, symbols: encodeSymbols(sketch, from) }
}
