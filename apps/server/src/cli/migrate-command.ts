/** `lockstep operator migrate`: from one storage to another, offline. */
import { MigrationInterrupted, type MigrationReport, migrateStorage, resetMigration } from '@lockstep/core'
import { loadMigrateConfig } from '../config/migrate-config.ts'
import type { LogLevel, StorageConfig } from '../config/server-config.ts'
import { type OpenStorage, openStorage } from '../open-storage.ts'
import { reasonOf, StartupError, startupError } from '../startup-error.ts'
import type { MigrateFlags } from './arguments.ts'
import type { Surroundings } from './server-command.ts'

/** Between two lines of progress. */
const PROGRESS_MS = 5_000

/** Resolves with the exit code. Rejects with the one-line reason. */
export async function migrateCommand(flags: MigrateFlags, around: Surroundings): Promise<number> {
  const config = await loadMigrateConfig(flags.config)
  const source = await opened('storage_source', config.source)
  try {
    if (flags.reset) {
      await resetMigration(source.store)
      around.stdout('Success! Migration lock reset (if it was set).\n')
      return 0
    }
    const destination = await opened('storage_destination', config.destination)
    try {
      return await migrate(source, destination, flags, around)
    } finally {
      await destination.close()
    }
  } finally {
    await source.close()
  }
}

async function migrate(
  source: OpenStorage,
  destination: OpenStorage,
  { start, maxParallel, logLevel }: MigrateFlags,
  around: Surroundings,
): Promise<number> {
  const ending = new AbortController()
  const end = (): void => {
    around.stdout('==> Migration shutdown triggered\n')
    ending.abort(new StartupError('interrupted'))
  }
  for (const signal of ['SIGTERM', 'SIGINT']) around.signals.once(signal, end)
  const progress = progressLines(around, logLevel)
  try {
    const options = { start, maxParallel, signal: ending.signal, onProgress: progress.add }
    const report = await migrateStorage({ source, destination, clock: Date }, options)
    around.stdout(shown(report))
    return 0
  } catch (error) {
    if (!(error instanceof MigrationInterrupted)) throw error
    const { cause } = error
    around.stderr(`lockstep: ${cause === undefined ? '' : `${reasonOf(cause)}; `}${error.message}\n`)
    return ending.signal.aborted ? 0 : 1
  } finally {
    progress.end()
    for (const signal of ['SIGTERM', 'SIGINT']) around.signals.off(signal, end)
  }
}

/**
 * Data and lock are opened apart: a leader's writes end with its lease, which may run out on a busy machine, while what a migration
 * writes is kept apart by its record.
 */
async function opened(which: string, config: StorageConfig): Promise<OpenStorage> {
  const all: OpenStorage[] = []
  const close = async (): Promise<void> => {
    for (const storage of all) await storage.close()
  }
  try {
    if (config.type === 'level' || config.type === 'inmem') return await openStorage(config)
    const data = await openStorage({ ...config, haEnabled: false })
    all.push(data)
    const locked = await openStorage({ ...config, haEnabled: true })
    all.push(locked)
    return { store: data.store, ...(locked.lock === undefined ? {} : { lock: locked.lock }), close }
  } catch (error) {
    await close()
    throw startupError(`${which} "${config.type}"`, error)
  }
}

/** Every few seconds; with `debug` and `trace` for every batch. */
function progressLines({ stdout }: Surroundings, level: LogLevel) {
  const every = level === 'debug' || level === 'trace'
  const rows = { copying: 0, verifying: 0 }
  let phase: keyof typeof rows = 'copying'
  const tell = (): void => stdout(`${phase}: ${rows[phase].toLocaleString('en')} rows\n`)
  const timer = setInterval(() => {
    if (level === 'info') tell()
  }, PROGRESS_MS)
  return {
    add(progress: { phase: keyof typeof rows; rows: number }) {
      phase = progress.phase
      rows[phase] += progress.rows
      if (every) tell()
    },
    end: () => clearInterval(timer),
  }
}

function shown({ rows, root, digest, partitions, copyMs, verifyMs }: MigrationReport): string {
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
  const list = partitions.map(
    ({ partition, keys, root }) => `    ${root.slice(0, 40)}  ${partition} (${keys.toLocaleString('en')} keys)\n`,
  )
  const keys = partitions.reduce((sum, partition) => sum + partition.keys, 0)
  return `Merkle root, equal on both ends: ${root.slice(0, 40)} (${keys.toLocaleString('en')} keys)
${list.join('')}SHA-256 of all ${rows.toLocaleString('en')} rows, equal on both ends: ${digest}
Copied in ${seconds(copyMs)}, verified in ${seconds(verifyMs)}.
Success! All of the keys have been migrated.
`
}
