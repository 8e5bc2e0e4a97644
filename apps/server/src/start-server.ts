/** A configuration and a way to build the core, to a running server. No secrets logic lives here. */
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import { formatAddress, parseAddress } from './config/address.ts'
import type { ListenerConfig, ServerConfig } from './config/server-config.ts'
import { type HttpApp, httpApp } from './http/app.ts'
import type { ServerCore } from './http/server-core.ts'
import type { ServerLog } from './logging/server-log.ts'
import { startupError } from './startup-error.ts'
import { readTlsFiles } from './tls-files.ts'

/** Chooses storage, seal, engines and the cluster listener. */
export type BuildCore = (config: ServerConfig, log: ServerLog) => Promise<ServerCore>

export interface RunningServer {
  core: ServerCore
  /** `host:port` as bound, in the order of the configuration. */
  addresses: string[]
  /** SIGHUP: certificates are read again, the log level is taken from `next`, the core reopens its files. */
  reload(next: ServerConfig): Promise<void>
  /** Finishes requests in flight for up to `limitMs` (default 10,000), then closes the core. Idempotent. */
  close(limitMs?: number): Promise<void>
}

/** Rejects with an error whose message is one line for the operator; nothing is left open then. */
export async function startServer(config: ServerConfig, buildCore: BuildCore, log: ServerLog): Promise<RunningServer> {
  // Files first: they are the cheapest thing to get wrong.
  const tls = await Promise.all(config.listeners.map((listener) => listener.tls && readTlsFiles(listener.tls)))
  let core: ServerCore
  try {
    core = await buildCore(config, log)
  } catch (error) {
    const ofStorage = String((error as { code?: unknown })?.code).startsWith('STORAGE_')
    throw startupError(ofStorage ? `storage "${config.storage.type}"` : 'core', error)
  }
  const apps: HttpApp[] = []
  // What a listener demands was demanded by the standby that forwards.
  const maxRequestSize = Math.max(...config.listeners.map((listener) => listener.maxRequestSize))
  const maxRequestDuration = Math.max(...config.listeners.map((listener) => listener.maxRequestDuration))
  const forwarded = await httpApp(core, log.named('http'), { maxRequestSize, maxRequestDuration })
  core.serveForwarded?.(forwarded.dispatch)
  const undo = async () => {
    await Promise.all(apps.map((app) => app.close(0)))
    await core.close()
    await forwarded.close(0)
  }
  try {
    for (const [index, listener] of config.listeners.entries()) {
      const app = await httpApp(core, log.named('http'), { ...listener, tls: tls[index] })
      apps.push(app)
      await listen(app, listener)
    }
    if (config.pidFile !== undefined) await writePidFile(config.pidFile)
  } catch (error) {
    await undo()
    throw error
  }

  let closing: Promise<void> | undefined
  return {
    core,
    addresses: apps.map(({ server }) => boundAddress(server.address() as AddressInfo)),
    async reload(next) {
      log.level = next.logLevel
      for (const [index, { tls: files }] of config.listeners.entries()) {
        if (files === undefined) continue
        try {
          ;(apps[index]!.server as unknown as TlsServer).setSecureContext(await readTlsFiles(files))
        } catch (error) {
          // The old certificate is better than none.
          log.error('certificate not reloaded', { reason: (error as Error).message })
        }
      }
      await core.reload?.()
    },
    close(limitMs = 10_000) {
      closing ??= (async () => {
        await Promise.all(apps.map((app) => app.close(limitMs)))
        await core.close()
        await forwarded.close(0)
        if (config.pidFile !== undefined) await rm(config.pidFile, { force: true })
      })()
      return closing
    },
  }
}

async function listen({ server }: HttpApp, { address }: ListenerConfig): Promise<void> {
  const { host, port } = parseAddress(address)!
  try {
    server.listen({ host, port, backlog: 1024 })
    await once(server, 'listening')
  } catch (error) {
    throw startupError(`listener "tcp" ${address}`, error)
  }
}

function boundAddress({ address, port }: AddressInfo): string {
  return formatAddress({ host: address, port })
}

async function writePidFile(file: string): Promise<void> {
  try {
    await writeFile(file, `${process.pid}\n`, { mode: 0o644 })
  } catch (error) {
    throw startupError(`pid_file ${file}`, error)
  }
}
