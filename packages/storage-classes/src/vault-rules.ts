/** The classes of Vault's storage layout outside mounts, as published for Vault Enterprise and OpenBao. */
import type { ClassRule } from './rule.ts'

const replicated = (prefix: string): ClassRule => ({ prefix, class: 'replicated' })
const local = (prefix: string): ClassRule => ({ prefix, class: 'local' })
const ignored = (prefix: string): ClassRule => ({ prefix, class: 'ignored' })
const exactly = (exact: string, storageClass: ClassRule['class']): ClassRule => ({ exact, class: storageClass })

const barrier: ClassRule[] = [
  // A secondary adopts its primary's keyring, and follows its rotations.
  exactly('core/keyring', 'replicated'),
  // The root key under the keyring, by which a secondary follows a change of root key. Vault calls it core/master.
  exactly('core/root-key', 'replicated'),
  exactly('core/master', 'replicated'),
  exactly('core/index-header-hmac-key', 'replicated'),
  // What operators hold shares of, by which a secondary follows a rekey of its primary.
  exactly('core/operator-key', 'replicated'),
  // Each cluster keeps a seal of its own.
  exactly('core/seal-config', 'ignored'),
  exactly('core/shamir-kek', 'ignored'),
  ignored('core/hsm/'),
  ignored('core/recovery-'),
  ignored('core/unseal-'),
  ignored('core/rekey/'),
  ignored('core/upgrade/'),
]

/** One record per mount, device and namespace; each belongs to the partition of what it describes. */
const records: ClassRule[] = [
  { prefix: 'core/mounts/', class: 'replicated', mountFrom: 'mount' },
  { prefix: 'core/auth/', class: 'replicated', mountFrom: 'mount' },
  { prefix: 'core/audit/', class: 'replicated', mountFrom: 'mount' },
  { prefix: 'core/local-mounts/', class: 'local', mountFrom: 'mount' },
  { prefix: 'core/local-auth/', class: 'local', mountFrom: 'mount' },
  { prefix: 'core/local-audit/', class: 'local', mountFrom: 'mount' },
  { prefix: 'core/namespaces/', class: 'replicated', mountFrom: 'namespace' },
]

const cluster: ClassRule[] = [
  // Who this cluster is and who leads it.
  exactly('core/lock', 'ignored'),
  exactly('core/leader', 'ignored'),
  ignored('core/leader/'),
  exactly('core/initialize-lock', 'ignored'),
  ignored('core/cluster/local/'),
  ignored('core/raft/'),
  ignored('core/autopilot/'),
  ignored('core/versions/'),
  exactly('core/license', 'ignored'),
  // The performance set (CA, secondaries, filters) goes to the DR secondary, which carries the role on when promoted.
  local('core/cluster/replicated/'),
  ignored('core/cluster/replicated-dr/'),
  ignored('core/replication/'),
  ignored('core/primary-addrs/'),
  exactly('core/poison-pill', 'ignored'),
  exactly('core/poison-pill-dr', 'ignored'),
  local('core/sscGenCounter/'),
]

const settings: ClassRule[] = [
  replicated('core/config/'),
  replicated('core/plugin-catalog/'),
  local('core/wrapping/'),
  local('core/login/'),
  replicated('sys/policy/'),
  replicated('sys/policies-rgp/'),
  replicated('sys/policies-egp/'),
  replicated('sys/password_policy/'),
  replicated('sys/config/'),
  replicated('sys/quotas/'),
  replicated('sys/mfa/'),
]

/** Tokens and leases are valid on one cluster, and on the DR secondary that takes its place. */
const tokens: ClassRule[] = [
  local('sys/token/id/'),
  local('sys/token/accessor/'),
  local('sys/token/parent/'),
  exactly('sys/token/salt', 'local'),
  replicated('sys/token/roles/'),
  local('sys/expire/'),
  local('sys/counters/'),
]

export const vaultRules: readonly ClassRule[] = Object.freeze([
  ...barrier,
  ...records,
  ...cluster,
  ...settings,
  ...tokens,
])
