import { refuse } from './transit-key.ts'

const alphabet = /[^A-Za-z0-9+/]/

/**
 * Standard padded base64, as strict as Go's decoder (line breaks are skipped).
 *
 * @param problem put before the reason in the error text
 */
export function decodeBase64(text: string, problem = ''): Buffer {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') === text) return bytes
  // Not canonical: either line breaks, unused trailing bits, or an error.
  const compact = text.replace(/[\r\n]/g, '')
  const bare = compact.replace(/={1,2}$/, '')
  const position = bare.search(alphabet)
  if (position !== -1 || compact.length % 4 !== 0) {
    refuse(
      `${problem}illegal base64 data at input byte ${position === -1 ? bare.length - (bare.length % 4) : position}`,
    )
  }
  return bytes
}
