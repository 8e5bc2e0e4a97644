import { isLosslessNumber } from '@lockstep/backend'

type Json = Record<string, unknown>

/** RFC 7396: null removes, objects merge, all else replaces. Neither argument is changed. */
export function mergePatch(target: Json, patch: Json): Json {
  const merged = new Map(Object.entries(target))
  for (const [key, change] of Object.entries(patch)) {
    if (change === null) merged.delete(key)
    else if (isObject(change)) {
      const before = merged.get(key)
      merged.set(key, mergePatch(isObject(before) ? before : {}, change))
    } else merged.set(key, change)
  }
  // Unlike assignment, this makes an own property of "__proto__".
  return Object.fromEntries(merged)
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isLosslessNumber(value)
}
