import { field, type Path, path } from '@lockstep/backend'
import { CoreError } from '../contracts.ts'
import type { SystemComponents } from './components.ts'

/** The barrier's keyring, sealing and stepping down. */
export function keyPaths({ barrier, isPerformanceSecondary, seal, stepDown }: SystemComponents): Path[] {
  async function rotate(): Promise<undefined> {
    if (isPerformanceSecondary?.()) {
      throw new CoreError('CORE_INVALID_REQUEST', 'cannot rotate on a replication secondary')
    }
    await barrier.rotate()
    return undefined
  }

  const paths = [
    path('key-status', {
      operations: {
        read: async () => {
          const { term, installTime, encryptions } = await barrier.keyStatus()
          return { data: { term, install_time: new Date(installTime).toISOString(), encryptions } }
        },
      },
      help: 'The encryption key in use.',
    }),
    ...['rotate', 'rotate/keyring'].map((name) =>
      path(name, { operations: { update: rotate }, help: 'Encrypt new data under a new key.' }),
    ),
    path('seal', {
      operations: {
        update: async () => {
          await seal()
          return undefined
        },
      },
      help: 'Seal the server.',
    }),
    path('step-down', {
      operations: {
        update: async () => {
          await stepDown()
          return undefined
        },
      },
      help: 'Give up leadership of the cluster.',
    }),
  ]
  const { rotation } = barrier
  if (rotation === undefined) return paths
  return [
    ...paths,
    path('rotate/config', {
      fields: {
        enabled: field.bool({ description: 'Rotate automatically.' }),
        interval: field.duration({ description: 'Age of a key at which it is replaced, seconds; 0 = any age.' }),
        max_operations: field.int({ description: 'Encryptions after which a key is replaced.' }),
      },
      operations: {
        read: async () => {
          const { enabled, interval, maxOperations } = await rotation.get()
          return { data: { enabled, interval, max_operations: maxOperations } }
        },
        update: async ({ field: { enabled, interval, max_operations: maxOperations } }) => {
          await rotation.set({
            ...(enabled === undefined ? undefined : { enabled }),
            ...(interval === undefined ? undefined : { interval }),
            ...(maxOperations === undefined ? undefined : { maxOperations }),
          })
          return undefined
        },
      },
      help: 'When keys are rotated automatically.',
    }),
  ]
}
