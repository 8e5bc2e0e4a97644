export { acceptTagged } from './accept-tagged.ts'
export { type RecordsAfter, recordsAfter } from './divergence.ts'
export { LinkError, type LinkErrorCode, LoggedStoreError, type LoggedStoreErrorCode } from './errors.ts'
export { type FilteredView, type FilteredViewOptions, filteredView } from './filtered-view.ts'
export type { ClassReport, IndexDifference, IndexReport, VerifyOptions } from './index-check.ts'
export type { OnRequest, RequestOptions } from './link-calls.ts'
export type { LogConsumer } from './log-consumers.ts'
export type { LogPressure } from './log-trimmer.ts'
export type { AppliedEntry, KeyClass, Log, LoggedStore, LoggedStoreOptions, StoredEntry } from './logged-store.ts'
export { loggedStore } from './open-logged-store.ts'
export {
  type ConnectionState,
  type FollowHandle,
  type FollowStatus,
  followPrimary,
  type ReceiverComponents,
  type ReceiverOptions,
} from './receiver.ts'
export { continuedHead, copiedHead, copiedLeaf, isLeafOf, replacedValue, rowCopy } from './row-copy.ts'
export { type Runtime, systemRuntime, type TimerOptions } from './runtime.ts'
export { type ScrubComponents, type ScrubHandle, type ScrubOptions, type ScrubUpstream, scrub } from './scrub.ts'
export { type SecondaryHandle, type SenderComponents, type SenderOptions, serveSecondary } from './sender.ts'
