import type { BackendResponse } from './types.ts'

/** The answer to a list: undefined (404) when there are no keys. */
export function keyList(keys: string[]): BackendResponse | undefined {
  return keys.length === 0 ? undefined : { data: { keys } }
}
