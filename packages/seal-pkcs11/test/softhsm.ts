/** Tokens of SoftHSM in a temporary directory. The library reads its configuration from the environment of this process. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const LIBRARIES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
]

export interface SoftHsm {
  lib: string
  /** Holds the tokens, in a folder each. */
  tokens: string
  /** For tokens taken away. */
  elsewhere: string
  /** For the environment of other processes; set in this one. */
  environment: { SOFTHSM2_CONF: string }
  /** Makes a token with this user PIN. */
  initToken(label: string, pin: string): void
  close(): Promise<void>
}

/** Before the library is loaded. Throws when SoftHSM is missing. */
export async function startSoftHsm(): Promise<SoftHsm> {
  const lib = LIBRARIES.find((path) => existsSync(path))
  if (lib === undefined) throw new Error('SoftHSM is missing: install it, on Debian by `apt-get install softhsm2`')
  const directory = await mkdtemp(join(tmpdir(), 'lockstep-softhsm-'))
  const file = join(directory, 'softhsm2.conf')
  const [tokens, elsewhere] = [join(directory, 'tokens'), join(directory, 'elsewhere')]
  await mkdir(tokens)
  await mkdir(elsewhere)
  await writeFile(file, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`)
  process.env.SOFTHSM2_CONF = file
  const environment = { SOFTHSM2_CONF: file }
  return {
    ...{ lib, tokens, elsewhere, environment },
    initToken(label, pin) {
      const args = ['--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', '12345678']
      execFileSync('softhsm2-util', args, { env: { ...process.env, ...environment }, stdio: 'pipe' })
    },
    close: () => rm(directory, { recursive: true, force: true }),
  }
}
