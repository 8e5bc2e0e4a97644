const unitSeconds: Record<string, number> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  μs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
}
const component = /([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([^0-9.]*)/y
const maxSeconds = 2 ** 63 / 1e9

/**
 * Whole seconds of Vault's duration text: a plain integer is seconds, otherwise Go's syntax ("1h30m", "500ms") plus `d`.
 * Fractions of a second are cut off. The empty string is 0.
 *
 * @throws RangeError with Go's wording when the text is no duration
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim()
  if (trimmed === '') return 0
  if (/^[+-]?[0-9]+$/.test(trimmed)) return bounded(Number(trimmed), trimmed)
  const negative = trimmed.startsWith('-')
  const magnitude = trimmed.replace(/^[+-]/, '')
  let seconds = 0
  component.lastIndex = 0
  for (let position = 0; position < magnitude.length; position = component.lastIndex) {
    const match = component.exec(magnitude)
    if (match === null) throw new RangeError(`time: invalid duration ${JSON.stringify(trimmed)}`)
    const unit = match[2]!
    if (unit === '') throw new RangeError(`time: missing unit in duration ${JSON.stringify(trimmed)}`)
    const factor = Object.hasOwn(unitSeconds, unit) ? unitSeconds[unit] : undefined
    if (factor === undefined) {
      throw new RangeError(`time: unknown unit ${JSON.stringify(unit)} in duration ${JSON.stringify(trimmed)}`)
    }
    seconds += Number(match[1]) * factor
  }
  if (magnitude === '') throw new RangeError(`time: invalid duration ${JSON.stringify(trimmed)}`)
  return bounded(Math.trunc(negative ? -seconds : seconds), trimmed)
}

function bounded(seconds: number, text: string): number {
  if (Math.abs(seconds) > maxSeconds) throw new RangeError(`time: invalid duration ${JSON.stringify(text)}`)
  return seconds === 0 ? 0 : seconds
}

/** Go's text of a duration: 5400 is "1h30m0s", 0 is "0s". */
export function formatDuration(seconds: number): string {
  const total = Math.abs(seconds)
  const hours = Math.floor(total / 3600)
  const minutes = Math.floor((total % 3600) / 60)
  const rest = `${total % 60}s`
  const text = hours > 0 ? `${hours}h${minutes}m${rest}` : minutes > 0 ? `${minutes}m${rest}` : rest
  return seconds < 0 ? `-${text}` : text
}
