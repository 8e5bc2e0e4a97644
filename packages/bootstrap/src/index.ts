export type { ActivationPackage } from './activation-package.ts'
export { parseActivationPackage } from './activation-package.ts'
export type { ActivationClaims, ActivationTokenInput, TokenKeyPair } from './activation-token.ts'
export {
  generateTokenKey,
  MAX_TOKEN_LENGTH,
  readActivationToken,
  signActivationToken,
  verifyActivationToken,
} from './activation-token.ts'
export type { BootstrapErrorCode } from './errors.ts'
export { BootstrapError } from './errors.ts'
export { primaryServerName } from './ids.ts'
export type { IssuedCertificate, ReplicationCa } from './issue.ts'
export { createReplicationCa, issuePrimaryServer, issueSecondary } from './issue.ts'
export type { NodeCa } from './issue-node.ts'
export { activeNodeName, createNodeCa, issueActiveNode, issueStandby } from './issue-node.ts'
export type { CertificateInput, PeerPolicy, VerifiedPeer } from './peer.ts'
export { fingerprint, verifyPeer } from './peer.ts'
export type { ActivationKeyPair, OpenActivationOptions, SealActivationInput } from './public-key-activation.ts'
export {
  generateActivationKey,
  isSealedActivation,
  openActivation,
  sealActivation,
} from './public-key-activation.ts'
