export type { Reader, Transaction } from '@lockstep/storage'
export { formatDuration, parseDuration } from './duration.ts'
export { decodeExactJson, encodeExactJson } from './exact-json.ts'
export { type Field, type FieldOptions, type Fields, type FieldValues, field } from './field.ts'
export { keyList } from './key-list.ts'
export { isLosslessNumber, type LosslessNumberLike } from './lossless-number.ts'
export { checkedName } from './name.ts'
export { type Path, type PathDefinition, type PathHandler, type PathParams, type PathRequest, path } from './path.ts'
export { type PathBackendDefinition, pathBackend } from './path-backend.ts'
export { type StoredCache, storedCache } from './stored-cache.ts'
export { hasLosslessNumber, jsonText, readJson, stringifyJson, writeJson } from './stored-json.ts'
export type {
  AuthGrant,
  Backend,
  BackendContext,
  BackendErrorCode,
  BackendFactory,
  BackendRequest,
  BackendResponse,
  BackendStorage,
  Caller,
  LeasedSecret,
  Operation,
  SpecialPaths,
} from './types.ts'
export { BackendError } from './types.ts'
