import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

/** Makes plain JavaScript of a TypeScript file and the packages it uses, for a process of its own. */
export async function bundle(entry: URL): Promise<{ file: string; remove(): Promise<void> }> {
  // Below node_modules, so that the bundle finds the dependencies it leaves out.
  const cache = fileURLToPath(new URL('../../../node_modules/.cache', import.meta.url))
  await mkdir(cache, { recursive: true })
  const outDir = await mkdtemp(join(cache, 'lockstep-postgres-'))
  await build({
    configFile: false,
    logLevel: 'error',
    ssr: { resolve: { conditions: ['@lockstep/source', 'node'] }, noExternal: [/^@lockstep\//] },
    build: {
      ssr: fileURLToPath(entry),
      outDir,
      target: 'node20',
      rollupOptions: { output: { entryFileNames: 'bundle.mjs' } },
    },
  })
  return { file: join(outDir, 'bundle.mjs'), remove: () => rm(outDir, { recursive: true }) }
}
