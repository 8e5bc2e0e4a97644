/** The cluster's key for JWT wrapping tokens at `core/wrapping/jwtkey`, made when first needed. Read anew on each (rare) use. */
import { jsonText } from '@lockstep/backend'
import { type Store, transact } from '@lockstep/storage'
import type { JwtKeyPair, JwtSigner } from './jwt-signer.ts'

export const JWT_KEY_PATH = 'core/wrapping/jwtkey'

export interface JwtKey {
  /** undefined when no JWT was ever made here. */
  find(): Promise<JwtKeyPair | undefined>
  findOrMake(): Promise<JwtKeyPair>
}

export function jwtKey(storage: Pick<Store, 'get' | 'begin'>, signer: JwtSigner): JwtKey {
  async function find(): Promise<JwtKeyPair | undefined> {
    const bytes = await storage.get(JWT_KEY_PATH)
    return bytes && (JSON.parse(jsonText(bytes)) as JwtKeyPair)
  }
  return {
    find,
    async findOrMake() {
      const known = await find()
      if (known !== undefined) return known
      const fresh = signer.generateKey()
      return transact(storage, async (transaction) => {
        const bytes = await transaction.get(JWT_KEY_PATH)
        if (bytes !== undefined) return JSON.parse(jsonText(bytes)) as JwtKeyPair
        await transaction.put(JWT_KEY_PATH, Buffer.from(JSON.stringify(fresh)))
        return fresh
      })
    },
  }
}
