import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresServer } from './postgres-server.ts'

export interface ShortSessions {
  readonly connection: PostgresServer['connection']
  /** Sessions begun, each of them ended. */
  count(): number
  close(): Promise<void>
}

/**
 * A server that lets everybody in and ends the session in the same breath, as `pg_terminate_backend` does when it comes just then: what says
 * so reaches the client together with the leave to ask.
 */
export async function shortSessions(): Promise<ShortSessions> {
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-short-'))
  const authenticated = message('R', Buffer.alloc(4))
  const ready = message('Z', Buffer.from('I'))
  const text = 'terminating connection due to administrator command'
  const ended = message('E', Buffer.from(`SFATAL\0VFATAL\0C57P01\0M${text}\0\0`))
  const sockets = new Set<Socket>()
  let sessions = 0

  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    socket.once('data', () => {
      sessions++
      socket.end(Buffer.concat([authenticated, ready, ended]))
    })
  })
  listener.listen(join(directory, '.s.PGSQL.5432'))
  await once(listener, 'listening')
  return {
    connection: { host: directory, port: 5432, user: 'postgres', database: 'postgres' },
    count: () => sessions,
    async close() {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Of the PostgreSQL protocol: a letter, the length with itself, and what it says. */
function message(type: string, body: Buffer): Buffer {
  const head = Buffer.from(`${type}\0\0\0\0`)
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}
