import { expect, test } from 'vitest'
import type { Partition, View } from '../types.ts'
import { shipping } from './shipping.ts'

const replicated: Partition = { class: 'replicated', mount: 'm' }
const local: Partition = { class: 'local', mount: 'm' }

function view(paths: Record<string, string | undefined>, denied: readonly string[]): View {
  return {
    id: 'v',
    ships: (_partition, mountPath) => !denied.includes(mountPath),
    mountPathOf: (mount) => paths[mount],
  }
}
const operation = (partition: Partition, mountPath: string) => ({ partition, mountPath, key: 'k', value: undefined })

test('class local goes to DR secondaries only', () => {
  const open = view({ m: 'secret/' }, [])
  expect(shipping('performance', open).shipsOperation(operation(local, 'secret/'))).toBe(false)
  expect(shipping('performance', open).shipsPartition('local/m')).toBe(false)
  expect(shipping('performance', open).shipsPartition('replicated/m')).toBe(true)
  expect(shipping('dr', open).shipsOperation(operation(local, 'secret/'))).toBe(true)
  expect(shipping('dr', open).shipsPartition('local/m')).toBe(true)
  expect(shipping('dr', open).shipsPartition('nonsense')).toBe(false)
})

test('a mount is judged by where it stands now, also in old records', () => {
  const moved = shipping('performance', view({ m: 'pii/' }, ['pii/']))
  expect(moved.shipsOperation(operation(replicated, 'secret/'))).toBe(false)
  expect(moved.shipsPartition('replicated/m')).toBe(false)
  const freed = shipping('performance', view({ m: 'secret/' }, ['pii/']))
  expect(freed.shipsOperation(operation(replicated, 'pii/'))).toBe(true)
})

test('records of a mount that is gone are judged by their path, what is left of it by none', () => {
  const gone = shipping('performance', view({}, ['pii/', '']))
  expect(gone.shipsOperation(operation(replicated, 'pii/'))).toBe(false)
  expect(gone.shipsOperation(operation(replicated, 'secret/'))).toBe(true)
  expect(gone.shipsPartition('replicated/m')).toBe(false)
  expect(shipping('dr', view({}, [])).shipsPartition('replicated/m')).toBe(true)
})
