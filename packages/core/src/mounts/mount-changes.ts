import { CoreError, type MountEntry, type MountTable } from '../contracts.ts'
import { newAccessor, newUuid } from './mount-identity.ts'
import type { MountLife } from './mount-life.ts'
import { checkMountable, checkMove, checkUnmountable, invalid, mountPath, pointOf, splitPoint } from './mount-path.ts'
import type { MountRemoval } from './mount-removal.ts'
import type { Mounted } from './mounted-backend.ts'

export type EnableInput = Parameters<MountTable['enable']>[2]
export type TuneChange = Parameters<MountTable['tune']>[2]

/** The changes operators ask for. Each validates, commits one record, and only then shows in memory. */
export interface MountChanges extends Pick<MountTable, 'enable' | 'disable' | 'tune' | 'remount'> {
  /** Rejects as `remount` would before it changes anything. */
  checkRemount(from: string, to: string): void
}

const aliases: Record<string, { type: string; options: Record<string, string> }> = {
  'kv-v1': { type: 'kv', options: { version: '1' } },
  'kv-v2': { type: 'kv', options: { version: '2' } },
}

export function mountChanges(life: MountLife, removal: MountRemoval): MountChanges {
  const { components, map, queue } = life
  const { random, defaults } = components

  function assertFree(point: string, table: 'secret' | 'auth'): void {
    const taken = map.conflict(point)
    if (taken !== undefined)
      throw invalid(`path is already in use at ${table === 'auth' ? splitPoint(taken).path : taken}`)
  }

  function planMove(
    from: string,
    to: string,
  ): { mounted: Mounted; target: ReturnType<typeof splitPoint>; point: string } {
    const source = mountPath(from)
    const point = mountPath(to)
    checkMove(source, point)
    const mounted = map.at(source)
    if (mounted === undefined || mounted.entry.tainted) throw invalid(`no matching mount at "${source}"`)
    const taken = map.conflict(point)
    if (taken !== undefined) throw invalid(`path already in use at "${taken}"`)
    life.assertWritable(mounted.entry.local)
    return { mounted, target: splitPoint(point), point }
  }

  return {
    async enable(table, rawPath, input) {
      const path = mountPath(rawPath)
      checkMountable(table, path, input.type)
      const { type, options } = resolveType(input)
      const config = { default_lease_ttl: 0, max_lease_ttl: 0, force_no_cache: false, ...input.config }
      if (table === 'auth') config.token_type ??= 'default-service'
      checkTtls(config, defaults.maxLeaseTtl)
      if (!components.factories[table].has(type)) throw invalid(`plugin not found in the catalog: ${type}`)
      return queue(async () => {
        const point = pointOf(table, path)
        assertFree(point, table)
        const local = input.local ?? false
        life.assertWritable(local)
        const entry: MountEntry = {
          path,
          table,
          type,
          description: input.description ?? '',
          uuid: newUuid(random),
          accessor: newAccessor(table, type, random),
          local,
          sealWrap: input.sealWrap ?? false,
          options,
          tainted: false,
          config,
        }
        const mounted = await life.build(entry)
        try {
          // Before the commit: senders withhold keys of a mount they know no class for.
          await life.register(mounted)
          await life.save(entry)
        } catch (error) {
          await components.classes.unregisterMount(entry.uuid)
          await mounted.backend.close?.()
          throw error
        }
        life.activate(mounted)
        return entry
      })
    },

    async disable(table, rawPath) {
      const path = mountPath(rawPath)
      checkUnmountable(table, path)
      const mounted = map.at(pointOf(table, path))
      if (mounted === undefined) return
      life.assertWritable(mounted.entry.local)
      await removal.remove(mounted)
    },

    async tune(table, rawPath, change) {
      const path = mountPath(rawPath)
      await queue(async () => {
        const mounted = map.at(pointOf(table, path))
        if (mounted === undefined || mounted.entry.tainted) {
          throw invalid(`tune of path "${pointOf(table, path)}" failed: no mount entry found`)
        }
        life.assertWritable(mounted.entry.local)
        const entry = tuned(mounted.entry, change)
        checkTunedTtls(entry.config, change, defaults.maxLeaseTtl)
        if (!optionsDiffer(entry, mounted.entry)) {
          await life.save(entry)
          mounted.entry = entry
          return
        }
        const replacement = await life.build(entry)
        await life.save(entry)
        mounted.entry = entry
        await life.exchange(mounted, replacement)
      })
    },

    checkRemount: (from, to) => void planMove(from, to),

    async remount(from, to) {
      await queue(async () => {
        const { mounted, target, point } = planMove(from, to)
        const before = mounted.entry
        const entry: MountEntry = { ...before, path: target.path }
        // No new leases under the old path while the existing ones are revoked.
        mounted.entry = { ...before, tainted: true }
        try {
          await components.revokeLeases?.(mounted.point, { force: false })
          await life.register(mounted, entry)
          await life.save(entry)
        } catch (error) {
          mounted.entry = before
          await life.register(mounted)
          throw error
        }
        map.change(mounted, () => {
          mounted.entry = entry
          mounted.point = point
        })
      })
    },
  }
}

export function optionsDiffer(a: MountEntry, b: MountEntry): boolean {
  const names = new Set([...Object.keys(a.options), ...Object.keys(b.options)])
  return [...names].some((name) => a.options[name] !== b.options[name])
}

function resolveType(input: EnableInput): { type: string; options: Record<string, string> } {
  const alias = Object.hasOwn(aliases, input.type) ? aliases[input.type] : undefined
  return { type: alias?.type ?? input.type, options: { ...input.options, ...alias?.options } }
}

function tuned(entry: MountEntry, change: TuneChange): MountEntry {
  const { description, options, ...config } = change
  return {
    ...entry,
    description: description ?? entry.description,
    options: { ...entry.options, ...options },
    config: { ...entry.config, ...config },
  }
}

function checkTtls(config: MountEntry['config'], systemMax: number): void {
  const { default_lease_ttl: ttl, max_lease_ttl: max } = config
  if (max > 0 && ttl > max) throw invalid('given default lease TTL greater than given max lease TTL')
  if (max === 0 && ttl > systemMax) {
    throw invalid(`given default lease TTL greater than system max lease TTL of ${systemMax}`)
  }
}

function checkTunedTtls(config: MountEntry['config'], change: TuneChange, systemMax: number): void {
  const { default_lease_ttl: ttl, max_lease_ttl: max } = config
  if (change.default_lease_ttl === undefined && change.max_lease_ttl === undefined) return
  if (max > 0 && ttl > max) {
    throw new CoreError(
      'CORE_INVALID_REQUEST',
      `backend max lease TTL of ${max} would be less than backend default lease TTL of ${ttl}`,
    )
  }
  if (max === 0 && ttl > systemMax) {
    throw invalid(`backend default lease TTL of ${ttl} would be greater than system max lease TTL of ${systemMax}`)
  }
}
