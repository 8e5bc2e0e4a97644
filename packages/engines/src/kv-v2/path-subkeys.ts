import { decodeExactJson, field, isLosslessNumber, type Path, path } from '@lockstep/backend'
import { versionMetadata } from './answers.ts'
import { readVersion } from './stored-version.ts'

/** The structure of a secret, values hidden. */
export function subkeysPath(now: () => number): Path {
  return path('subkeys/:path*', {
    help: 'The keys of a secret without their values.',
    fields: {
      version: field.int({ description: 'Version to read; default the current one.' }),
      depth: field.int({ description: 'Levels to show; 0 = all.' }),
    },
    operations: {
      async read(request) {
        const found = await readVersion(request.storage, request.params.path, request.field.version ?? 0, now())
        if (found === undefined) return undefined
        const metadata = versionMetadata(found.metadata, found.version)
        if (found.data === undefined) return { status: 404, data: { metadata, subkeys: null } }
        const depth = request.field.depth ?? 0
        return { data: { metadata, subkeys: hidden(decodeExactJson(found.data), depth > 0 ? depth : Infinity) } }
      },
    },
  })
}

function hidden(data: Record<string, unknown>, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => {
      const object = typeof value === 'object' && value !== null && !Array.isArray(value) && !isLosslessNumber(value)
      const deeper = object && depth > 1 && Object.keys(value).length > 0
      return [key, deeper ? hidden(value as Record<string, unknown>, depth - 1) : null]
    }),
  )
}
