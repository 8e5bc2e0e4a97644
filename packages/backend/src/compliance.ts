/**
 * What every backend must hold, whoever wrote it. Needs no test runner of its own: pass `test` and `expect`.
 */
import { type TestBed, testBed } from './test-bed.ts'
import type { BackendFactory, Operation } from './types.ts'

interface Expectation {
  toBe(value: unknown): void
  toEqual(value: unknown): void
  toMatchObject(value: object): void
}

export interface BackendComplianceOptions {
  test: (name: string, body: () => Promise<void>) => void
  expect: (value: unknown) => Expectation
  factory: BackendFactory
  options?: Record<string, string>
  /** Data every mount of the kind needs before objects can be written. */
  prepare?: (bed: TestBed) => Promise<void>
  /** One object of the backend that can be written, changed, read and deleted. Names sort as given, at least three. */
  object: {
    names: readonly string[]
    /** Path to write, read and delete. */
    path: (name: string) => string
    /** Path to delete the object for good, if another. */
    deletePath?: (name: string) => string
    /** Folder whose list shows the names. */
    folder: string
    first: Record<string, unknown>
    changed: Record<string, unknown>
    /** How to change the object. Default: write `changed` to its path. */
    change?: (bed: TestBed, name: string) => Promise<void>
    /** The part of a read's data that `changed` alters. */
    view: (data: Record<string, unknown>) => unknown
    /** Set false when the path has no create/update distinction. Default true. */
    existenceCheck?: boolean
    /** Runs before each delete, for instance to allow it. */
    beforeDelete?: (bed: TestBed, name: string) => Promise<void>
  }
}

export function backendCompliance(suite: BackendComplianceOptions): void {
  const { test, expect, object } = suite
  const [name] = object.names as [string]

  async function fresh(store?: TestBed['store']): Promise<TestBed> {
    const bed = await testBed(suite.factory, {
      ...(suite.options && { options: suite.options }),
      ...(store && { store }),
    })
    if (store === undefined) await suite.prepare?.(bed)
    return bed
  }
  const code = (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error: { code?: unknown }) => error.code,
    )
  async function change(bed: TestBed): Promise<void> {
    if (object.change !== undefined) await object.change(bed, name)
    else await bed.write(object.path(name), object.changed)
  }
  async function remove(bed: TestBed): Promise<void> {
    await object.beforeDelete?.(bed, name)
    await bed.request('delete', (object.deletePath ?? object.path)(name))
  }

  test('reads what was written, nothing before and nothing after', async () => {
    const bed = await fresh()
    expect(await bed.request('read', object.path(name))).toBe(undefined)
    await bed.write(object.path(name), object.first)
    const first = object.view((await bed.read(object.path(name))) ?? {})
    await change(bed)
    const changed = object.view((await bed.read(object.path(name))) ?? {})
    expect(JSON.stringify(first) === JSON.stringify(changed)).toBe(false)
    await remove(bed)
    expect(await bed.request('read', object.path(name))).toBe(undefined)
    expect(await bed.list(object.folder)).toEqual([])
  })

  if (object.existenceCheck !== false) {
    test('the existence check agrees with reading', async () => {
      const bed = await fresh()
      expect(await bed.exists(object.path(name), object.first)).toBe(false)
      await bed.write(object.path(name), object.first)
      expect(await bed.exists(object.path(name), object.first)).toBe(true)
      await remove(bed)
      expect(await bed.exists(object.path(name), object.first)).toBe(false)
    })
  }

  test('lists names sorted', async () => {
    const bed = await fresh()
    for (const each of [...object.names].reverse()) await bed.write(object.path(each), object.first)
    expect(await bed.list(object.folder)).toEqual([...object.names])
  })

  test('what it stored survives a restart', async () => {
    const bed = await fresh()
    await bed.write(object.path(name), object.first)
    const again = await fresh(bed.store)
    expect(object.view((await again.read(object.path(name))) ?? {})).toEqual(
      object.view((await bed.read(object.path(name))) ?? {}),
    )
  })

  test('shows a replicated change once its keys are invalidated', async () => {
    const writer = await fresh()
    await writer.write(object.path(name), object.first)
    const reader = await fresh(writer.store)
    const before = object.view((await reader.read(object.path(name))) ?? {})
    const changed = await changedKeys(writer, () => change(writer))
    expect(changed.length > 0).toBe(true)
    for (const key of changed) reader.backend.invalidate?.(key)
    const after = object.view((await reader.read(object.path(name))) ?? {})
    expect(after).toEqual(object.view((await writer.read(object.path(name))) ?? {}))
    expect(JSON.stringify(after) === JSON.stringify(before)).toBe(false)
    for (const key of await changedKeys(writer, () => remove(writer))) reader.backend.invalidate?.(key)
    expect(await reader.request('read', object.path(name))).toBe(undefined)
  })

  test('answers reads on read-only storage and reports writes as such', async () => {
    const bed = await fresh()
    await bed.write(object.path(name), object.first)
    bed.readOnly.value = true
    expect((await bed.read(object.path(name))) === undefined).toBe(false)
    expect(await code(change(bed))).toBe('BACKEND_READ_ONLY')
  })

  test('answers help without touching storage', async () => {
    const bed = await fresh()
    bed.storageCalls()
    const help = await bed.request('help', object.path(name))
    expect(typeof JSON.parse(String(help?.raw?.body)).help).toBe('string')
    expect(bed.storageCalls()).toEqual({ reads: 0, writes: 0 })
  })

  test('refuses operations a path does not have', async () => {
    const bed = await fresh()
    expect(await code(bed.request('unheard-of' as Operation, object.path(name)))).toBe('BACKEND_UNSUPPORTED_OPERATION')
  })
}

async function changedKeys(bed: TestBed, change: () => Promise<unknown>): Promise<string[]> {
  const before = await snapshot(bed)
  await change()
  const after = await snapshot(bed)
  return [...new Set([...before.keys(), ...after.keys()])].filter((key) => before.get(key) !== after.get(key))
}

async function snapshot(bed: TestBed): Promise<Map<string, string>> {
  const entries = new Map<string, string>()
  for await (const [key, value] of bed.store.scan()) entries.set(key, Buffer.from(value).toString('base64'))
  return entries
}
