/** Dev mode: a fresh server, initialized, unsealed, with a known root token and kv version 2 at secret/. */
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CoreRequest } from '@lockstep/core'
import type { DevConfig } from '../config/server-config.ts'
import type { ServerCore } from '../http/server-core.ts'
import { StartupError } from '../startup-error.ts'

export interface DevServer {
  /** Undefined when the seal needs none. */
  unsealKey: string | undefined
  rootToken: string
}

export async function prepareDevServer(core: ServerCore, dev: DevConfig): Promise<DevServer> {
  if (await core.initialized()) throw new StartupError('-dev needs empty storage, and this one is initialized already')
  const shares = { secret_shares: 1, secret_threshold: 1, recovery_shares: 1, recovery_threshold: 1 }
  const { keys, keys_base64: encoded, root_token: firstToken } = await core.initialize(shares)
  const unsealKey = Array.isArray(encoded) && encoded.length > 0 ? String(encoded[0]) : undefined
  if ((await core.sealStatus()).sealed === true && Array.isArray(keys)) await core.unseal({ key: keys[0] })
  let rootToken = String(firstToken)
  if (dev.rootTokenId !== '') {
    await update(core, rootToken, 'auth/token/create', {
      id: dev.rootTokenId,
      policies: ['root'],
      no_parent: true,
      display_name: 'root',
    })
    await update(core, rootToken, 'auth/token/revoke-self', {})
    rootToken = dev.rootTokenId
  }
  await update(core, rootToken, 'sys/mounts/secret', {
    type: 'kv',
    options: { version: '2' },
    description: 'key/value secret storage',
  })
  return { unsealKey, rootToken }
}

/** Where Vault's command line looks for a token. */
export async function storeToken(home: string, token: string): Promise<void> {
  await writeFile(join(home, '.vault-token'), token, { mode: 0o600 })
}

async function update(core: ServerCore, token: string, path: string, data: Record<string, unknown>): Promise<void> {
  const request: CoreRequest = {
    id: randomUUID(),
    operation: 'update',
    path,
    data,
    clientToken: token,
    headers: {},
    remoteAddress: '127.0.0.1',
    remotePort: 0,
    wrapTtl: 0,
    wrapFormat: '',
  }
  const { status } = await core.handle(request)
  if (status >= 300) throw new StartupError(`dev mode could not prepare ${path}: status ${status}`)
}
