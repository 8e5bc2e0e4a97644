// examples/replicated-config: the packages in a service of one's own, and kill -9 of either side while settings are written.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { waitFor } from '@lockstep/dev-env'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { scratch } from './scratch.ts'

const EXAMPLE = join(import.meta.dirname, '../examples/replicated-config')
const ROUNDS = process.env.SLOW === '1' ? 30 : 6
const WRITERS = 8
const files = scratch()

interface Ports {
  http: number
  cluster: number
}

/** One process of the example that keeps its ports over restarts. */
function service(script: string, args: (ports: Ports) => string[]) {
  let child: ChildProcess | undefined
  let ports: Ports = { http: 0, cluster: 0 }
  return {
    url: (name: string) => `http://127.0.0.1:${ports.http}/${name}`,
    ports: () => ports,
    async start(): Promise<void> {
      child = spawn(process.execPath, [join(EXAMPLE, script), ...args(ports)], { stdio: ['ignore', 'pipe', 'pipe'] })
      let complaints = ''
      child.stderr!.on('data', (chunk) => {
        complaints = (complaints + chunk).slice(-2000)
      })
      for await (const line of createInterface({ input: child.stdout! })) {
        ports = { ...ports, ...JSON.parse(line) }
        return
      }
      throw new Error(`${script} did not start: ${complaints}`)
    },
    async stop(signal: NodeJS.Signals): Promise<number | null> {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null
      const exited = once(child, 'exit')
      child.kill(signal)
      return (await exited)[0]
    },
  }
}

let leader: ReturnType<typeof service>
let follower: ReturnType<typeof service>
let leaderDirectory: string
let followerDirectory: string
/** Settings that were answered with 204. */
const acknowledged = new Map<string, string>()

const put = (name: string, value: string) => fetch(leader.url(name), { method: 'PUT', body: value })
const status = async (of: typeof leader) => (await fetch(of.url(''))).json() as Promise<Record<string, unknown>>

async function inSync(): Promise<void> {
  await waitFor('the follower to hold what the leader ships', async () => {
    const [here, there] = await Promise.all([status(leader), status(follower)])
    return there.state === 'stream-wals' && there.index === here.index && there.root === here.root
  })
}

async function contents(directory: string): Promise<Buffer> {
  const names = await readdir(directory, { recursive: true, withFileTypes: true })
  const found = names.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name)))
  return Buffer.concat(await Promise.all(found))
}

beforeAll(async () => {
  const trust = await files.path('trust')
  leaderDirectory = await files.path('leader')
  followerDirectory = await files.path('follower')
  await promisify(execFile)(process.execPath, [join(EXAMPLE, 'certificates.js'), trust, 'eu'])
  leader = service('leader.js', ({ http, cluster }) => [
    leaderDirectory,
    join(trust, 'leader.json'),
    String(http),
    String(cluster),
  ])
  await leader.start()
  follower = service('follower.js', ({ http }) => [
    followerDirectory,
    join(trust, 'eu.json'),
    String(http),
    `127.0.0.1:${leader.ports().cluster}`,
  ])
  await follower.start()
})

afterAll(async () => {
  await Promise.all([leader?.stop('SIGKILL'), follower?.stop('SIGKILL')])
})

test('settings reach the follower, which takes no writes', async () => {
  expect((await put('app/theme', 'dark')).status).toBe(204)
  await inSync()
  expect(await (await fetch(follower.url('app/theme'))).text()).toBe('dark')
  expect((await fetch(follower.url('app/theme'), { method: 'PUT', body: 'light' })).status).toBe(403)
  expect((await put('elsewhere/theme', 'dark')).status).toBe(403)
})

test(`${ROUNDS} kills while settings are written`, { timeout: 60_000 + ROUNDS * 10_000 }, async () => {
  let running = true
  const write = async (writer: number): Promise<void> => {
    for (let n = 0; running; n++) {
      const prefix = ['app', 'features', 'private'][n % 3]!
      const name = `${prefix}/${prefix}-name-${writer}-${n}`
      const value = `${prefix}-value-${writer}-${n}`
      try {
        if ((await put(name, value)).status === 204) acknowledged.set(name, value)
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }
  const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer))
  for (let round = 0; round < ROUNDS; round++) {
    const victim = round % 2 === 0 ? leader : follower
    const before = acknowledged.size
    await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 500))
    await victim.stop('SIGKILL')
    await victim.start()
    await waitFor('writes to go on', async () => acknowledged.size > before)
  }
  running = false
  await Promise.all(writers)

  await inSync()
  expect(acknowledged.size).toBeGreaterThan(100)
  for (const [name, value] of acknowledged) {
    expect(await (await fetch(leader.url(name))).text(), name).toBe(value)
    const reply = await fetch(follower.url(name))
    const text = await reply.text()
    if (name.startsWith('private/')) expect(reply.status, name).toBe(404)
    else expect(text, name).toBe(value)
  }
})

test('nothing of the withheld prefix is in the data directory of the follower', async () => {
  expect([await leader.stop('SIGTERM'), await follower.stop('SIGTERM')]).toEqual([0, 0])
  const [here, there] = [await contents(leaderDirectory), await contents(followerDirectory)]
  for (const trace of ['private-name-', 'private-value-', 'private/']) {
    expect(here.includes(trace), `leader: ${trace}`).toBe(true)
    expect(there.includes(trace), `follower: ${trace}`).toBe(false)
  }
  expect(there.includes('features-value-')).toBe(true)
})
