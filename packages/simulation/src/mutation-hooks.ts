/** Module loader hooks that plant one bug in what is loaded. Runs in the loader's own thread. */
import type { LoadHook } from 'node:module'
import { applied } from './mutate-text.ts'
import type { Mutation } from './mutations.ts'

let mutation: Mutation | undefined
const packages = new URL('../../', import.meta.url)

export function initialize(data: { mutation: Mutation }): void {
  mutation = data.mutation
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const result = await nextLoad(url, context)
  const edits = mutation?.edits.filter(({ file }) => new URL(file, packages).href === url) ?? []
  if (edits.length === 0) return result
  let source = Buffer.from(result.source as Uint8Array).toString()
  for (const edit of edits) source = applied(source, edit)
  return { ...result, source }
}
