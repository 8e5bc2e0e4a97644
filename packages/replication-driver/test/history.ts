import { transact } from '@lockstep/storage'
import type { LoggedStore } from '../src/index.ts'
import { bytes } from './fixture.ts'

/** A fixed history with every kind of physical write; yields what must be readable after each step. */
export async function history(
  store: LoggedStore,
  acknowledged: (key: string, value: string | undefined) => void,
): Promise<void> {
  const put = (key: string, value: string) => store.put(key, bytes(value)).then(() => acknowledged(key, value))
  await put('kv/a', '1')
  await put('ignored/a', '1')
  await transact(store, async (transaction) => {
    await transaction.put('kv/b', bytes('2'))
    await transaction.put('local/kv/c', bytes('2'))
    await transaction.delete('kv/a')
  })
  for (const [key, value] of [
    ['kv/b', '2'],
    ['local/kv/c', '2'],
    ['kv/a', undefined],
  ] as const)
    acknowledged(key, value)
  await Promise.all([put('kv/d', '3'), put('kv/e', '3'), put('ignored/a', '3')])
  store.log.retain('x', store.log.head().index - 2)
  await store.log.trim()
  await store.apply(
    [{ partition: { class: 'replicated', mount: 'up' }, mountPath: 'up/', key: 'up/a', value: bytes('4') }],
    new Map([['ignored/cursor', bytes('4')]]),
  )
  acknowledged('up/a', '4')
  acknowledged('ignored/cursor', '4')
  await store.log.startEpoch(2)
  await put('kv/a', '5')
  await store.deletePartition('replicated/up', 'up/')
  acknowledged('up/a', undefined)
  await store.log.trim()
}
