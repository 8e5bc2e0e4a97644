import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresServer } from './postgres-server.ts'

export interface FaultProxy {
  /** As of the server behind it. */
  readonly connection: PostgresServer['connection']
  /** From now on nothing passes, either way, and nobody is told: a network that is gone. */
  hold(): void
  /** What was held goes on. */
  release(): void
  close(): Promise<void>
}

/** Stands between a client and the server's Unix socket. */
export async function faultProxy(server: Pick<PostgresServer, 'connection'>): Promise<FaultProxy> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-proxy-'))
  const sockets = new Set<Socket>()
  let held = false

  const tie = (one: Socket, other: Socket) => {
    sockets.add(one)
    one.on('data', (bytes: Buffer) => other.write(bytes))
    one.on('error', () => {})
    one.on('close', () => {
      sockets.delete(one)
      if (!held) other.destroy()
    })
    if (held) one.pause()
  }
  const listener = createServer((client) => {
    const { host, port } = server.connection
    const upstream = connect(join(host, `.s.PGSQL.${port}`))
    tie(client, upstream)
    tie(upstream, client)
  })
  listener.listen(join(directory, '.s.PGSQL.5432'))
  await once(listener, 'listening')
  return {
    connection: { ...server.connection, host: directory, port: 5432 },
    hold() {
      held = true
      for (const socket of sockets) socket.pause()
    },
    release() {
      held = false
      for (const socket of sockets) socket.resume()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
