import { expect, test } from 'vitest'
import { invalidation } from './invalidation.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
type Listener = (keys: readonly string[], source: 'own' | 'upstream') => void

function bench(options: { fails?: (key: string) => boolean; follows?: () => Promise<void> } = {}) {
  let listener: Listener = () => {}
  const told: string[] = []
  const loads: (() => void)[] = []
  const logged: string[] = []
  const { end, settled } = invalidation(
    {
      onChanged(given) {
        listener = given
        return () => {
          listener = () => {}
        }
      },
    },
    { ...quiet, error: (message, fields) => void logged.push(`${message} ${fields?.key}`) },
    () =>
      new Promise((resolve) => {
        told.push('keyring')
        loads.push(resolve)
      }),
    [
      [
        /^sys\/policy\//,
        (_key, rest) => {
          if (options.fails?.(rest)) throw new Error('cannot be decrypted')
          told.push(`policy ${rest}`)
        },
      ],
      [
        /^core\/mounts\//,
        async (key) => {
          told.push(key)
          await options.follows?.()
        },
      ],
    ],
  )
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  return {
    change: (...keys: string[]) => listener(keys, 'upstream'),
    own: (...keys: string[]) => listener(keys, 'own'),
    told,
    loads,
    logged,
    end,
    settled,
    settle,
  }
}

test('what came from upstream is told at once, what was written here is not', () => {
  const { change, own, told } = bench()
  own('sys/policy/a')
  change('sys/policy/b', 'logical/unrouted', 'core/mounts/m')
  expect(told).toEqual(['policy b', 'core/mounts/m'])
})

test('changes that come with a new keyring, and after it, wait until it is open', async () => {
  const { change, told, loads, settle } = bench()
  change('sys/policy/a', 'core/keyring')
  change('sys/policy/b')
  await settle()
  expect(told).toEqual(['keyring'])
  loads[0]!()
  await settle()
  expect(told).toEqual(['keyring', 'policy a', 'policy b'])
  change('sys/policy/c')
  expect(told.at(-1)).toBe('policy c')
})

test('a module that failed is told again once another keyring has come', async () => {
  let sealedUnderNewTerm = true
  const { change, told, loads, logged, settle } = bench({ fails: () => sealedUnderNewTerm })
  change('sys/policy/a')
  expect(logged).toEqual(['a module could not follow a replicated change sys/policy/a'])
  sealedUnderNewTerm = false
  change('core/keyring')
  await settle()
  loads[0]!()
  await settle()
  expect(told).toEqual(['keyring', 'policy a'])
})

test('after its end nothing is told, not even what was waiting', async () => {
  const { change, told, loads, end, settle } = bench()
  change('core/keyring', 'sys/policy/a')
  await settle()
  end()
  loads[0]!()
  change('sys/policy/b')
  await settle()
  expect(told).toEqual(['keyring'])
})

test('settles when every module has followed', async () => {
  const finish: (() => void)[] = []
  const { change, loads, settled, settle } = bench({ follows: () => new Promise<void>((done) => finish.push(done)) })
  expect(settled()).toBeUndefined()
  change('sys/policy/a')
  expect(settled()).toBeUndefined()
  change('core/keyring', 'core/mounts/m')
  let done = false
  const settling = settled()!.then(() => {
    done = true
  })
  await settle()
  loads[0]!()
  await settle()
  expect([done, finish.length]).toEqual([false, 1])
  finish[0]!()
  await settling
  expect(settled()).toBeUndefined()
})

test('a module that fails late does not keep it from settling', async () => {
  const { change, settled, logged } = bench({ follows: () => Promise.reject(new Error('cannot be decrypted')) })
  change('core/mounts/m')
  await settled()
  expect(logged).toEqual(['a module could not follow a replicated change core/mounts/m'])
})
