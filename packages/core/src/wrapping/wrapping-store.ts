/**
 * Response wrapping: an orphan service token with one use, policy `response-wrapping`, whose cubbyhole holds the response. Token
 * and response appear in one transaction; whoever deletes the response in a transaction of its own is the one who gets it.
 */
import { stringifyJson } from '@lockstep/backend'
import { type Store, type Transaction, transact } from '@lockstep/storage'
import {
  type Clock,
  CoreError,
  type Log,
  type TokenEntry,
  type TokenStore,
  type WrapInfo,
  type WrappingStore,
} from '../contracts.ts'
import { jwtKey } from './jwt-key.ts'
import { type JwtSigner, jwtSigner } from './jwt-signer.ts'
import { decodeWrapped, encodeWrapped, type WrappedRecord, wrappedRecordKey } from './wrapped-record.ts'

const POLICY = 'response-wrapping'
const MAX_JWT_LENGTH = 8192

export interface WrappingComponents {
  tokens: Pick<TokenStore, 'create' | 'lookup' | 'revoke'>
  /** The whole barrier store: that of the token store's transactions. */
  storage: Pick<Store, 'get' | 'begin'>
  /** Where the cubbyhole mount keeps its data: `logical/<uuid>/`. */
  cubbyholePrefix(): string
  clock: Clock
  log: Log
  /** Default: ES512 by `@lockstep/bootstrap`. */
  jwt?: JwtSigner
}

/** A live wrapping token, and the JWT's address when it came as a JWT. */
interface Opened {
  entry: TokenEntry
  address: string | undefined
}

export function wrappingStore(components: WrappingComponents): WrappingStore {
  const { tokens, storage, clock, log } = components
  const signer = components.jwt ?? jwtSigner
  const keys = jwtKey(storage, signer)
  const keyOf = (entry: TokenEntry) => wrappedRecordKey(components.cubbyholePrefix(), entry.cubbyholeId)

  /** Writes the token and its response, both or neither. */
  async function issue(transaction: Transaction, record: WrappedRecord): Promise<TokenEntry> {
    const entry = await tokens.create(
      {
        policies: [POLICY],
        path: record.creationPath,
        numUses: 1,
        ttl: record.creationTtl,
        explicitMaxTtl: record.creationTtl,
        renewable: false,
      },
      { transaction },
    )
    await transaction.put(keyOf(entry), encodeWrapped(record))
    return entry
  }

  async function wrapInfo(entry: TokenEntry, record: WrappedRecord, address: string | undefined): Promise<WrapInfo> {
    const { creationTtl: ttl, creationTime, creationPath, wrappedAccessor } = record
    const info: WrapInfo = {
      token: address === undefined ? entry.id : await jwt(entry, ttl, address),
      accessor: entry.accessor,
      ttl,
      creation_time: creationTime,
      creation_path: creationPath,
    }
    return wrappedAccessor === undefined ? info : { ...info, wrapped_accessor: wrappedAccessor }
  }

  async function jwt(entry: TokenEntry, ttl: number, addr: string): Promise<string> {
    const { privateKeyPem } = await keys.findOrMake()
    return signer.sign(privateKeyPem, { addr, jti: entry.id, ttl, now: clock.now() })
  }

  async function verified(token: string): Promise<{ id: string; address: string | undefined }> {
    if (!isJwt(token)) return { id: token, address: undefined }
    const pair = token.length <= MAX_JWT_LENGTH ? await keys.find() : undefined
    if (pair === undefined) throw notValid()
    try {
      const { jti, addr } = await signer.verify(pair.publicKeyPem, token, clock.now())
      return { id: jti, address: addr }
    } catch (cause) {
      throw notValid(cause)
    }
  }

  async function open(token: string): Promise<Opened> {
    const { id, address } = await verified(token)
    const entry = await tokens.lookup(id)
    if (entry === undefined || entry.numUses < 0 || !isWrapping(entry)) throw notValid()
    return { entry, address }
  }

  /** Removes the response from storage in the transaction: only one transaction that does so can commit. */
  async function take(transaction: Transaction, entry: TokenEntry): Promise<WrappedRecord> {
    const bytes = await transaction.get(keyOf(entry))
    const record = bytes && decodeWrapped(bytes)
    if (record === undefined) throw notValid()
    await transaction.delete(keyOf(entry))
    return record
  }

  /** The token is worth nothing any more; should this fail, its lease ends it. */
  async function discard(entry: TokenEntry): Promise<void> {
    await tokens.revoke(entry.id).catch((error) => {
      log.warn('a used wrapping token was not revoked', {
        accessor: entry.accessor,
        error: String(error?.message ?? error),
      })
    })
  }

  return {
    async wrap({ response, ttl, path, format, wrappedAccessor, address }) {
      if (!(ttl > 0)) throw new CoreError('CORE_INVALID_REQUEST', 'endpoint requires response wrapping to be used')
      const record: WrappedRecord = {
        format: 1,
        response: stringifyJson(response),
        creationTtl: ttl,
        creationTime: new Date(clock.now()).toISOString(),
        creationPath: path,
        ...(wrappedAccessor === undefined ? undefined : { wrappedAccessor }),
      }
      const entry = await transact(storage, (transaction) => issue(transaction, record))
      return wrapInfo(entry, record, format === 'jwt' ? (address ?? '') : undefined)
    },

    async lookup(token) {
      const { entry } = await open(token)
      const bytes = await storage.get(keyOf(entry))
      const record = bytes && decodeWrapped(bytes)
      if (record === undefined) throw notValid()
      const { creationTtl, creationTime, creationPath } = record
      return { creation_ttl: creationTtl, creation_time: creationTime, creation_path: creationPath }
    },

    async unwrap(token) {
      const { entry } = await open(token)
      const { response } = await transact(storage, (transaction) => take(transaction, entry))
      await discard(entry)
      return response
    },

    async rewrap(token) {
      const { entry: old, address } = await open(token)
      const { entry, record } = await transact(storage, async (transaction) => {
        const taken = await take(transaction, old)
        const record = { ...taken, creationTime: new Date(clock.now()).toISOString() }
        return { entry: await issue(transaction, record), record }
      })
      await discard(old)
      return wrapInfo(entry, record, address)
    },

    resolve: async (token) => (await verified(token)).id,

    publicKeyPem: async () => (await keys.findOrMake()).publicKeyPem,
  }
}

/** Service and batch tokens begin otherwise, and a JWT's first part is base64url of `{"`. */
function isJwt(token: string): boolean {
  return token.startsWith('eyJ') && token.split('.', 4).length === 3
}

function isWrapping(entry: TokenEntry): boolean {
  return entry.type === 'service' && entry.policies.length === 1 && entry.policies[0] === POLICY
}

function notValid(cause?: unknown): CoreError {
  return new CoreError('CORE_INVALID_REQUEST', 'wrapping token is not valid or does not exist', { cause })
}
