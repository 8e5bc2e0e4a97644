import { generateTokenKey, signActivationToken, verifyActivationToken } from '@lockstep/bootstrap'

export interface JwtKeyPair {
  privateKeyPem: string
  publicKeyPem: string
}

/** The JWT form of a wrapping token: ES512 with a P-521 key and the claims of Vault (`addr`, `jti`, `type: "wrapping"`, times). */
export interface JwtSigner {
  generateKey(): JwtKeyPair
  /** `ttl` in seconds, `now` in milliseconds. */
  sign(privateKeyPem: string, claims: { addr: string; jti: string; ttl: number; now: number }): Promise<string>
  /** Rejects for anything this key did not sign, or whose time is over. */
  verify(publicKeyPem: string, token: string, now: number): Promise<{ addr: string; jti: string }>
}

export const jwtSigner: JwtSigner = {
  generateKey: generateTokenKey,
  sign: signActivationToken,
  verify: verifyActivationToken,
}
