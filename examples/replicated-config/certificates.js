/**
 * `node certificates.js DIRECTORY FOLLOWER...`: one authority for the set, a certificate for the leader and one per follower.
 * The authority's key is not kept, so nobody can be added later; a service that wants that keeps it where its secrets are.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createReplicationCa, issuePrimaryServer, issueSecondary } from '@lockstep/bootstrap'
import { CLUSTER_ID } from './settings.js'

const [directory, ...ids] = process.argv.slice(2)
const now = Date.now()
const ca = await createReplicationCa({ clusterId: CLUSTER_ID, now })
const credentials = ({ certificatePem, privateKeyPem }) => ({
  ca: ca.certificatePem,
  cert: certificatePem,
  key: privateKeyPem,
})

await mkdir(directory, { recursive: true, mode: 0o700 })
const save = (name, content) => writeFile(join(directory, `${name}.json`), JSON.stringify(content), { mode: 0o600 })
const followers = {}
for (const id of ids) {
  const certificate = await issueSecondary(ca, { id, now })
  followers[certificate.fingerprint] = id
  await save(id, { id, ...credentials(certificate) })
}
await save('leader', { ...credentials(await issuePrimaryServer(ca, { now })), followers })
console.log(`leader.json and ${ids.length} follower(s) in ${directory}`)
