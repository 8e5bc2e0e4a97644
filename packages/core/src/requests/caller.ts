import type { Caller } from '@lockstep/backend'
import type { TokenEntry } from '../contracts.ts'

const callers = new WeakMap<object, Caller>()
const noMeta = Object.freeze({})

type CallerFacts = Pick<
  TokenEntry,
  'accessor' | 'displayName' | 'policies' | 'type' | 'entityId' | 'meta' | 'cubbyholeId'
>

/** What a backend may know of the caller. One frozen object per token entry. */
export function callerOf(token: CallerFacts): Caller {
  let caller = callers.get(token)
  if (caller === undefined) {
    const { accessor, displayName, policies, type, entityId, meta, cubbyholeId } = token
    caller = Object.freeze({ accessor, displayName, policies, type, entityId, meta: meta ?? noMeta, cubbyholeId })
    callers.set(token, caller)
  }
  return caller
}
