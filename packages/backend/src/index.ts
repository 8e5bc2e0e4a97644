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
