/**
 * Audit devices: kept as one record each, written to before a request is carried out and before it is answered. When devices exist
 * and none takes a record, the request fails.
 */
import type { Writable } from 'node:stream'
import { type Store, transact } from '@lockstep/storage'
import { type AuditBroker, type AuditRecord, type Clock, CoreError, type Log } from '../contracts.ts'
import { newUuid, type Random } from '../mounts/mount-identity.ts'
import { storageErrorForBackend } from '../mounts/read-only.ts'
import { serialQueue } from '../mounts/serial-queue.ts'
import type { ClearFields } from './audit-entry.ts'
import { brokenDevice, type Device, deviceSink, runningDevice } from './device.ts'
import { deviceOptions } from './device-options.ts'
import {
  type DeviceRecord,
  dataPrefix,
  decodeDevice,
  encodeDevice,
  LOCAL_FOLDER,
  recordKey,
  SHARED_FOLDER,
  saltKey,
  uuidOf,
} from './device-record.ts'

const SALT_BYTES = 32

/** The part of `ClassRules` of `@lockstep/storage-classes` that gives a device's keys their class. */
export interface AuditClasses {
  registerMount(mount: {
    uuid: string
    keyPrefix: string
    mountPath: string
    local: boolean
    localStorage: readonly string[]
  }): void
  unregisterMount(uuid: string): void
}

export interface AuditComponents extends ClearFields {
  /** The whole barrier store: records at `core/audit/` and `core/local-audit/`, salts at `audit/<uuid>/salt`. */
  storage: Store
  classes: AuditClasses
  clock: Clock
  log: Log
  random: Random
  /** For `file_path=stdout`. Default the process's. */
  stdout?: Writable
}

export function auditBroker(components: AuditComponents): AuditBroker {
  const { storage, classes, log, random } = components
  const stdout = components.stdout ?? process.stdout
  const devices = new Map<string, Device>()
  const queue = serialQueue()
  /** The devices, or undefined when there is none: all that `write` looks at then. */
  let active: Device[] | undefined

  function set(uuid: string, device: Device | undefined): Device | undefined {
    const old = devices.get(uuid)
    if (device === undefined) devices.delete(uuid)
    else devices.set(uuid, device)
    active = devices.size === 0 ? undefined : [...devices.values()]
    return old
  }

  function register({ uuid, path, local }: DeviceRecord): void {
    // Below sys/, which no paths filter can withhold.
    const mountPath = `sys/audit/${path}`
    classes.registerMount({ uuid, keyPrefix: dataPrefix(uuid), mountPath, local, localStorage: [] })
  }

  async function attempt(device: Device, record: AuditRecord): Promise<boolean> {
    try {
      await device.write(record)
      return true
    } catch (error) {
      log.error('an audit device failed', { path: device.record.path, error: reason(error) })
      return false
    }
  }

  async function writeAll(to: readonly Device[], record: AuditRecord): Promise<void> {
    const taken = await Promise.all(to.map((device) => attempt(device, record)))
    if (!taken.includes(true)) {
      throw new CoreError('CORE_INTERNAL', `no audit backend succeeded in logging the ${record.type}`)
    }
  }

  /** From what is stored; undefined when the device is no more. Never rejects for a device that cannot run. */
  async function stored(uuid: string): Promise<Device | undefined> {
    const [shared, local, salt] = await storage.getMany([SHARED_FOLDER + uuid, LOCAL_FOLDER + uuid, saltKey(uuid)])
    const bytes = shared ?? local
    if (bytes === undefined) return undefined
    const record = decodeDevice(bytes)
    if (record.uuid !== uuid) throw new Error('an audit device is stored under a foreign key')
    register(record)
    try {
      if (salt === undefined) throw new Error('its salt is missing')
      const sink = await deviceSink(deviceOptions(record.type, record.options), stdout, 'later')
      return runningDevice(record, salt, sink, components)
    } catch (error) {
      log.error('an audit device did not start', { path: record.path, error: reason(error) })
      return brokenDevice(record, error)
    }
  }

  async function reload(uuid: string): Promise<void> {
    const device = await stored(uuid)
    await set(uuid, device)?.close()
    if (device === undefined) classes.unregisterMount(uuid)
  }

  const byPath = (path: string): Device | undefined => active?.find(({ record }) => record.path === path)

  return {
    write(record) {
      return active === undefined ? undefined : writeAll(active, record)
    },

    enable: (givenPath, config) =>
      queue(async () => {
        const path = devicePath(givenPath)
        if (active?.some(({ record }) => record.path.startsWith(path) || path.startsWith(record.path))) {
          throw invalid('path already in use')
        }
        const { type, description, local } = config
        const record: DeviceRecord = {
          format: 1,
          uuid: newUuid(random),
          path,
          type,
          description,
          options: { ...config.options },
          local,
        }
        const options = deviceOptions(type, record.options)
        const sink = await deviceSink(options, stdout, 'now').catch((cause) => {
          throw invalid(
            `sanity check failed; unable to open ${JSON.stringify(options.filePath)} for writing: ${reason(cause)}`,
          )
        })
        const salt = random(SALT_BYTES)
        register(record)
        try {
          await transact(storage, async (transaction) => {
            await transaction.put(recordKey(record), encodeDevice(record))
            await transaction.put(saltKey(record.uuid), salt)
          })
        } catch (error) {
          classes.unregisterMount(record.uuid)
          await sink.close()
          throw storageErrorForBackend(error)
        }
        set(record.uuid, runningDevice(record, salt, sink, components))
        log.info('audit device enabled', { path, type })
      }),

    disable: (givenPath) =>
      queue(async () => {
        const device = byPath(devicePath(givenPath))
        if (device === undefined) return
        const { record } = device
        await transact(storage, async (transaction) => {
          await transaction.delete(recordKey(record))
          await transaction.delete(saltKey(record.uuid))
        }).catch((error) => {
          throw storageErrorForBackend(error)
        })
        set(record.uuid, undefined)
        classes.unregisterMount(record.uuid)
        await device.close()
        log.info('audit device disabled', { path: record.path })
      }),

    list() {
      const sorted = (active ?? []).map(({ record }) => record).sort((a, b) => (a.path < b.path ? -1 : 1))
      return Object.fromEntries(
        sorted.map(({ path, type, description, options, local }) => [
          path,
          { type, path, description, options: { ...options }, local },
        ]),
      )
    },

    async hash(path, input) {
      const device = byPath(devicePath(path))
      if (device === undefined) throw invalid(`unknown audit backend ${JSON.stringify(path)}`)
      return device.hash(input)
    },

    load: () =>
      queue(async () => {
        const names = await Promise.all([storage.list(SHARED_FOLDER), storage.list(LOCAL_FOLDER)])
        for (const uuid of names.flat()) await reload(uuid)
      }),

    async reopen() {
      const reopenOne = async (device: Device): Promise<void> => {
        await device.reopen().catch((error) => {
          log.error('an audit file was not opened again', { path: device.record.path, error: reason(error) })
        })
      }
      await Promise.all((active ?? []).map(reopenOne))
    },

    invalidate(key) {
      const uuid = uuidOf(key)
      if (uuid === undefined) return
      queue(() => reload(uuid)).catch((error) => {
        log.error('a change of an audit device was not followed', { key, error: reason(error) })
      })
    },

    close: () =>
      queue(async () => {
        const open = [...devices.values()]
        // A late request must not slip through unaudited.
        for (const { record } of open) set(record.uuid, brokenDevice(record, new Error('the audit broker is closed')))
        await Promise.all(open.map((device) => device.close()))
      }),
  }
}

/** `file` -> `file/`. @throws CoreError for empty, overlong and odd paths. */
function devicePath(path: string): string {
  const trimmed = path.replace(/^\/+|\/+$/g, '')
  if (trimmed === '') throw invalid('missing path')
  if (trimmed.length > 512 || /\p{Cc}/u.test(trimmed)) throw invalid('the path is too long or has control characters')
  if (trimmed.split('/').some((segment) => ['', '.', '..'].includes(segment))) {
    throw invalid('the path has an empty or relative segment')
  }
  return `${trimmed}/`
}

function invalid(message: string): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', message)
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
