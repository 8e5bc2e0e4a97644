/** One loaded PKCS#11 library for all seals of the process that use it: it can be initialized only once. */
import { SealError } from '@lockstep/seal'
import type { Handle, Pkcs11Module } from './pkcs11-api.ts'
import { isInitializedAlready, returnValueName } from './return-values.ts'

export interface Library {
  readonly module: Pkcs11Module
  /** False while initializing it again has failed: it answers nothing until `refresh` succeeds. */
  readonly usable: boolean
  /** Sessions are opened and closed here, so that it is known when there is none. */
  openSession(slot: Handle, flags: number): Handle
  closeSession(session: Handle): void
  /**
   * Initializes it again when nobody has a session: many libraries notice tokens that were plugged in only then. Otherwise nothing
   * happens.
   */
  refresh(): void
  /** The last user finalizes it. */
  release(): void
}

interface Shared {
  module: Pkcs11Module
  users: number
  sessions: number
  initialized: boolean
}

const LOCKING = { flags: 2 }
const loaded = new Map<string, Promise<Shared>>()

/** Rejects with `SEAL_INVALID_CONFIG` when the native module or the library cannot be loaded. */
export async function openLibrary(path: string): Promise<Library> {
  let shared = loaded.get(path)
  if (shared === undefined) {
    shared = load(path)
    loaded.set(path, shared)
    shared.catch(() => loaded.delete(path))
  }
  const held = await shared
  held.users++
  let released = false
  return {
    module: held.module,
    get usable() {
      return held.initialized
    },
    openSession(slot, flags) {
      const session = held.module.C_OpenSession(slot, flags)
      held.sessions++
      return session
    },
    closeSession(session) {
      held.sessions--
      try {
        held.module.C_CloseSession(session)
      } catch {
        // It is gone already, with whatever broke it.
      }
    },
    refresh() {
      if (held.sessions > 0) return
      if (held.initialized) held.module.C_Finalize()
      held.initialized = false
      held.module.C_Initialize(LOCKING)
      held.initialized = true
    },
    release() {
      if (released) return
      released = true
      held.users--
      if (held.users > 0) return
      loaded.delete(path)
      try {
        held.module.C_Finalize()
        held.module.close()
      } catch {
        // There is nothing left to end.
      }
    },
  }
}

async function load(path: string): Promise<Shared> {
  const module = await nativeModule()
  try {
    module.load(path)
    try {
      module.C_Initialize(LOCKING)
    } catch (error) {
      if (!isInitializedAlready(error)) throw error
    }
  } catch (error) {
    // The loader's own message names the file and what is missing.
    const { message, code } = error as { message?: unknown; code?: unknown }
    const reason = code === 0 && typeof message === 'string' ? message.slice(0, 300) : returnValueName(error)
    throw new SealError('SEAL_INVALID_CONFIG', `the PKCS#11 library ${path} cannot be used: ${reason}`)
  }
  return { module, users: 0, sessions: 0, initialized: true }
}

async function nativeModule(): Promise<Pkcs11Module> {
  // Not a literal: it is optional, and the compiler needs no types of it.
  const name = 'pkcs11js'
  try {
    const { default: native } = (await import(name)) as { default: { PKCS11: new () => Pkcs11Module } }
    return new native.PKCS11()
  } catch (cause) {
    const text = 'the native module pkcs11js is not installed, or was not built: install it where a C++ compiler is'
    throw new SealError('SEAL_INVALID_CONFIG', text, { cause })
  }
}
