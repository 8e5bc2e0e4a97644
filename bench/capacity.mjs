/** How many requests a second the load generator can make at all, against a server that does nothing. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { request } from './load/load.mjs'

export async function generatorCapacity(load, { connections, seconds }) {
  const child = fork(new URL('./load/bare-server.mjs', import.meta.url))
  const [{ port }] = await once(child, 'message')
  try {
    const job = { port, connections, requests: [request('GET', 'nothing', { token: 'hvs.0123456789' })] }
    await load.run({ ...job, seconds: 1 })
    const { requests, seconds: time } = await load.run({ ...job, seconds: Math.min(seconds, 3) })
    return requests / time
  } finally {
    child.disconnect()
  }
}
