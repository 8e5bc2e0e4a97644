/** `lockstep server`: from flags to a running server, and from signals to its end. */
import type { EventEmitter } from 'node:events'
import { environmentValue } from '../config/environment.ts'
import { devListener } from '../config/listener-config.ts'
import { loadConfig } from '../config/load-config.ts'
import { parseLogFormat, parseLogLevel } from '../config/log-config.ts'
import type { ServerConfig } from '../config/server-config.ts'
import type { ServerLog } from '../logging/server-log.ts'
import { serverLog } from '../logging/server-log.ts'
import { type BuildCore, type RunningServer, startServer } from '../start-server.ts'
import { reasonOf } from '../startup-error.ts'
import type { ServerFlags } from './arguments.ts'
import { banner, devNotice } from './banner.ts'
import { prepareDevServer, storeToken } from './dev-mode.ts'

export interface Surroundings {
  environment: Readonly<Record<string, string | undefined>>
  /** Home directory, for ~/.vault-token. */
  home: string
  stdout: (text: string) => void
  stderr: (text: string) => void
  /** Emits SIGTERM, SIGINT, SIGHUP. */
  signals: EventEmitter
  buildCore: BuildCore
}

const DEV_ADDRESS = '127.0.0.1:8200'

/** Resolves with the exit code when the server has stopped. Rejects with the one-line reason when it could not start. */
export async function serverCommand(flags: ServerFlags, around: Surroundings): Promise<number> {
  const { config, warnings } = await configure(flags, around)
  const log = serverLog({ level: config.logLevel, format: config.logFormat })
  for (const warning of warnings) log.warn(warning)
  const stopped = stopSignal(around)
  const server = await startServer(config, around.buildCore, log)
  try {
    around.stdout(banner(config, server.addresses))
    if (config.dev !== undefined) await announceDev(server, config, around, log)
  } catch (error) {
    await server.close(0)
    throw error
  }
  const hangUp = () => void reload(flags, around, server, log)
  around.signals.on('SIGHUP', hangUp)
  await stopped
  around.signals.off('SIGHUP', hangUp)
  around.stdout('==> Lockstep shutdown triggered\n')
  await server.close()
  return 0
}

async function configure(flags: ServerFlags, { environment }: Surroundings) {
  const address = flags.devListenAddress ?? environmentValue(environment, 'DEV_LISTEN_ADDRESS') ?? DEV_ADDRESS
  const defaults = flags.dev ? { storage: { type: 'inmem' } as const, listener: devListener(address) } : {}
  const loaded = await loadConfig(flags.config, environment, defaults)
  const { config } = loaded
  if (flags.logLevel !== undefined) config.logLevel = parseLogLevel(flags.logLevel, '-log-level')
  if (flags.logFormat !== undefined) config.logFormat = parseLogFormat(flags.logFormat, '-log-format')
  if (flags.dev) {
    const rootTokenId = flags.devRootTokenId ?? environmentValue(environment, 'DEV_ROOT_TOKEN_ID') ?? ''
    config.dev = { rootTokenId, storeToken: !flags.devNoStoreToken }
  }
  return loaded
}

async function announceDev(
  server: RunningServer,
  config: ServerConfig,
  { home, stdout }: Surroundings,
  log: ServerLog,
): Promise<void> {
  const { unsealKey, rootToken } = await prepareDevServer(server.core, config.dev!)
  if (config.dev!.storeToken) {
    await storeToken(home, rootToken).catch((error: unknown) => {
      log.warn('the root token could not be stored', { file: '~/.vault-token', reason: reasonOf(error) })
    })
  }
  const scheme = config.listeners[0]!.tls ? 'https' : 'http'
  stdout(devNotice(`${scheme}://${server.addresses[0]}`, unsealKey, rootToken))
}

async function reload(flags: ServerFlags, around: Surroundings, server: RunningServer, log: ServerLog): Promise<void> {
  try {
    log.info('reloading')
    const { config, warnings } = await configure(flags, around)
    for (const warning of warnings) log.warn(warning)
    await server.reload(config)
  } catch (error) {
    log.error('reload failed; the server goes on as it was', { reason: reasonOf(error) })
  }
}

/** The first SIGTERM or SIGINT stops in order; one that follows ends the process. */
function stopSignal({ signals }: Surroundings): Promise<void> {
  return new Promise((resolve) => {
    let asked = false
    const stop = () => {
      if (asked) process.exit(1)
      asked = true
      resolve()
    }
    signals.on('SIGTERM', stop)
    signals.on('SIGINT', stop)
  })
}
