const UNITS: Record<string, number> = {
  '': 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}

/** Bytes of a capacity text (`512mib`, `1gb`, `4096`), units in any case; undefined when it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+)\s*([a-z]*)$/i.exec(text.trim())
  if (match === null) return undefined
  const unit = match[2]!.toLowerCase()
  const bytes = Object.hasOwn(UNITS, unit) ? Number(match[1]) * UNITS[unit]! : Number.NaN
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
