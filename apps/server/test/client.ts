import { once } from 'node:events'
import { type RequestOptions, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Log } from '@lockstep/core'
import { type HttpApp, type HttpOptions, httpApp } from '../src/http/app.ts'
import type { ServerCore } from '../src/http/server-core.ts'

export interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  json: unknown
}

export interface TestLog extends Log {
  lines: { level: string; message: string; fields: Record<string, unknown> | undefined }[]
}

export function testLog(): TestLog {
  const lines: TestLog['lines'] = []
  const at = (level: string) => (message: string, fields?: Record<string, unknown>) => {
    lines.push({ level, message, fields })
  }
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

export async function listening(core: ServerCore, options: HttpOptions = {}) {
  const log = testLog()
  const app: HttpApp = await httpApp(core, log, options)
  app.server.listen(0, '127.0.0.1')
  await once(app.server, 'listening')
  const { port } = app.server.address() as AddressInfo
  return { app, log, port, send: (path: string, init: Init = {}) => send(port, path, init) }
}

export interface Init {
  method?: string
  headers?: Record<string, string>
  body?: string | Buffer
  options?: RequestOptions
}

/** One request over node:http, so that verbs, paths and headers go out exactly as written. */
export function send(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body, options }: Init = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, path, method, headers, agent: false, ...options },
      (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', reject)
        incoming.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          let json: unknown
          try {
            json = JSON.parse(text)
          } catch {
            json = undefined
          }
          resolve({ status: incoming.statusCode!, headers: incoming.headers, text, json })
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/**
 * Writes the chunks as they are, apart in time, and resolves with all that came back once `replies` complete JSON replies are
 * there or the server has closed. With 0 replies the client goes away after the last chunk.
 */
export function rawExchange(port: number, chunks: readonly string[], replies = 1): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
      if (text.endsWith('}\n') && (text.match(/HTTP\/1\.1 \d/g)?.length ?? 0) >= replies) socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
    socket.on('connect', async () => {
      for (const chunk of chunks) {
        if (socket.destroyed) return
        socket.write(chunk)
        await new Promise((wait) => setTimeout(wait, 25))
      }
      if (replies === 0) socket.destroy()
    })
  })
}
