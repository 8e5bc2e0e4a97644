/** A DR operation token, made as an operator makes it: from the primary's unseal keys. */
import type { ClusterAccess } from './cluster.ts'

export async function drOperationToken(dr: ClusterAccess): Promise<string> {
  const base = 'sys/replication/dr/secondary/generate-operation-token'
  const attempt = (await dr.client.write(`${base}/attempt`, {}, { token: '' })).body
  let reply = attempt
  for (const key of dr.keys.slice(0, attempt.required)) {
    reply = (await dr.client.write(`${base}/update`, { key, nonce: attempt.nonce }, { token: '' })).body
  }
  const encoded = Buffer.from(reply.encoded_token, 'base64')
  const password = Buffer.from(attempt.otp, 'utf8')
  return Buffer.from(encoded.map((byte, index) => byte ^ password[index]!)).toString('utf8')
}
