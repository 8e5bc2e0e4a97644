import type { Edit } from './mutations.ts'

/** Throws unless the text to be replaced is there exactly once. */
export function applied(source: string, { file, find, replace }: Edit): string {
  const count = source.split(find).length - 1
  if (count !== 1) throw new Error(`planted bug: ${file} has ${count} times, not once: ${find}`)
  return source.replace(find, () => replace)
}
