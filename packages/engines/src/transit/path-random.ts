import { randomBytes } from 'node:crypto'
import { field, type Path, path } from '@lockstep/backend'
import { refuse } from './transit-key.ts'

const fields = {
  bytes: field.int({ default: 32, description: 'How many, up to 131072.' }),
  format: field.string({ default: 'base64', description: 'hex or base64.' }),
}
const sources = new Set(['platform', 'seal', 'all'])
const maxBytes = 128 * 1024

/** Random bytes. The source in the path is accepted as Vault does; all of them are the platform's here. */
export function randomPaths(): Path[] {
  return [
    path('random', {
      help: 'Random bytes.',
      fields,
      operations: { update: ({ field: given }) => random(given.bytes, given.format, 'platform') },
    }),
    path('random/:source', {
      help: 'Random bytes: as many as the path says, or from the source it names.',
      fields,
      operations: {
        update: ({ params, field: given }) =>
          sources.has(params.source)
            ? random(given.bytes, given.format, params.source)
            : random(count(params.source), given.format, 'platform'),
      },
    }),
    path('random/:source/:count', {
      help: 'Random bytes from a source.',
      fields,
      operations: {
        update: ({ params, field: given }) => {
          if (!sources.has(params.source)) {
            const name = JSON.stringify(params.source)
            refuse(`unsupported entropy source ${name}; must be "platform" or "seal", or "all"`)
          }
          return random(count(params.count), given.format, params.source)
        },
      },
    }),
  ]
}

function count(text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text)
  const reason = `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`
  return refuse(`error parsing url-set byte count: ${reason}`)
}

function random(bytes: number, format: string, source: string) {
  if (bytes < 1) refuse("'bytes' cannot be less than 1")
  if (bytes > maxBytes) refuse(`'bytes' should be less than ${maxBytes}`)
  if (format !== 'hex' && format !== 'base64') {
    refuse(`unsupported encoding format ${JSON.stringify(format)}; must be "hex" or "base64"`)
  }
  const warning = 'no seal/entropy augmentation available, using platform entropy source'
  return {
    data: { random_bytes: randomBytes(bytes).toString(format) },
    ...(source === 'seal' && { warnings: [warning] }),
  }
}
