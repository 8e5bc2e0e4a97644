/** The salt record at `sys/token/salt`: 32 bytes made once per cluster (class local), from which every stored name derives. */
import { type Store, transact } from '@lockstep/storage'
import { CoreError } from '../contracts.ts'
import { type TokenNames, tokenNames } from './token-names.ts'

export const SALT_KEY = 'salt'
const SALT_BYTES = 32

export interface TokenSalt {
  /** Synchronous once read. Makes the salt when there is none. */
  names(): TokenNames | Promise<TokenNames>
  forget(): void
}

/** @param storage view of `sys/token/`. */
export function tokenSalt(storage: Store, random: (bytes: number) => Uint8Array): TokenSalt {
  let known: TokenNames | undefined
  let reading: Promise<TokenNames> | undefined

  async function read(): Promise<TokenNames> {
    const salt = await transact(storage, async (transaction) => {
      const stored = await transaction.get(SALT_KEY)
      if (stored !== undefined) return stored
      const fresh = random(SALT_BYTES)
      await transaction.put(SALT_KEY, fresh)
      return fresh
    })
    if (salt.length !== SALT_BYTES) throw new CoreError('CORE_INTERNAL', 'token salt of an unknown format')
    return tokenNames(salt)
  }

  return {
    names() {
      if (known !== undefined) return known
      if (reading === undefined) {
        const mine = read()
        reading = mine
        const settled = (names?: TokenNames) => {
          if (reading !== mine) return
          reading = undefined
          known = names
        }
        mine.then(settled, () => settled())
      }
      return reading
    },
    forget() {
      known = undefined
      reading = undefined
    },
  }
}
