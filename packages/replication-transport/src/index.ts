export type { Address } from './address.ts'
export { parseAddress } from './address.ts'
export type { DialOptions, Patience } from './cluster-dialer.ts'
export { dialCluster } from './cluster-dialer.ts'
export { clusterListener } from './cluster-listener.ts'
export type {
  AuthorizedPeer,
  ClusterListener,
  ClusterListenerOptions,
  ClusterProtocol,
  ConnectionRefusal,
  ProtocolRegistration,
} from './cluster-protocol.ts'
export type { TransportErrorCode } from './errors.ts'
export { TransportError } from './errors.ts'
export type { FrameReader } from './frames.ts'
export { DEFAULT_MAX_FRAME_BYTES, decodeBody, encodeFrame, frameReader, HEADER_BYTES } from './frames.ts'
export type { MemoryLinkOptions, MemoryLinkPair } from './memory-link.ts'
export { memoryLinkPair } from './memory-link.ts'
export type { Alpn } from './protocols.ts'
export { ALPN, DEFAULT_CLUSTER_PORT } from './protocols.ts'
export type { LinkOptions } from './stream-link.ts'
export { streamLink } from './stream-link.ts'
