import { describe, expect, test } from 'vitest'
import { CORE, classRules, vaultRules } from './index.ts'

/** One key for every declared rule, and what it must be. Written by hand from the published behaviour, not from the rules. */
const table: Record<string, [key: string, expected: string][]> = {
  barrier: [
    ['core/keyring', 'replicated core'],
    ['core/root-key', 'replicated core'],
    ['core/master', 'replicated core'],
    ['core/index-header-hmac-key', 'replicated core'],
    ['core/operator-key', 'replicated core'],
    ['core/seal-config', 'ignored'],
    ['core/shamir-kek', 'ignored'],
    ['core/hsm/barrier-unseal-keys', 'ignored'],
    ['core/recovery-config', 'ignored'],
    ['core/recovery-key', 'ignored'],
    ['core/unseal-keys-backup', 'ignored'],
    ['core/rekey/verification', 'ignored'],
    ['core/upgrade/2', 'ignored'],
  ],
  records: [
    ['core/mounts/m1', 'replicated m1'],
    ['core/auth/a1', 'replicated a1'],
    ['core/audit/d1', 'replicated d1'],
    ['core/local-mounts/m2', 'local m2'],
    ['core/local-auth/a2', 'local a2'],
    ['core/local-audit/d2', 'local d2'],
    ['core/namespaces/n1', 'replicated n1'],
  ],
  cluster: [
    ['core/lock', 'ignored'],
    ['core/leader', 'ignored'],
    ['core/leader/5d1f', 'ignored'],
    ['core/initialize-lock', 'ignored'],
    ['core/cluster/local/info', 'ignored'],
    ['core/raft/tls', 'ignored'],
    ['core/autopilot/config', 'ignored'],
    ['core/versions/1.0.0', 'ignored'],
    ['core/license', 'ignored'],
    ['core/cluster/replicated/info', 'local core'],
    ['core/cluster/replicated/secondaries/eu', 'local core'],
    ['core/cluster/replicated/filters/eu', 'local core'],
    ['core/cluster/replicated-dr/info', 'ignored'],
    ['core/cluster/replicated-dr/secondaries/dr1', 'ignored'],
    ['core/replication/state', 'ignored'],
    ['core/primary-addrs/perf', 'ignored'],
    ['core/poison-pill', 'ignored'],
    ['core/poison-pill-dr', 'ignored'],
    ['core/sscGenCounter/x', 'local core'],
  ],
  settings: [
    ['core/config/cors', 'replicated core'],
    ['core/plugin-catalog/secret/x', 'replicated core'],
    ['core/wrapping/jwtkey', 'local core'],
    ['core/login/lockedUsers/a/b', 'local core'],
    ['sys/policy/default', 'replicated core'],
    ['sys/policies-rgp/x', 'replicated core'],
    ['sys/policies-egp/x', 'replicated core'],
    ['sys/password_policy/x', 'replicated core'],
    ['sys/config/ui', 'replicated core'],
    ['sys/quotas/rate-limit/x', 'replicated core'],
    ['sys/mfa/x', 'replicated core'],
  ],
  tokens: [
    ['sys/token/id/h0', 'local core'],
    ['sys/token/accessor/0', 'local core'],
    ['sys/token/parent/h0/h1', 'local core'],
    ['sys/token/salt', 'local core'],
    ['sys/token/roles/ci', 'replicated core'],
    ['sys/expire/id/auth/token/create/h0', 'local core'],
    ['sys/counters/requests/2026/11', 'local core'],
  ],
  mounts: [
    ['logical/m1/data/a', 'replicated m1'],
    ['logical/m2/data/a', 'local m2'],
    ['auth/a1/role/x', 'replicated a1'],
    ['auth/a2/role/x', 'local a2'],
    ['audit/d1/salt', 'replicated d1'],
    ['audit/d2/salt', 'local d2'],
    ['logical/pki/issuers/1', 'replicated pki'],
    ['logical/pki/roles/web', 'replicated pki'],
    ['logical/pki/certs/01', 'local pki'],
    ['logical/pki/crl', 'local pki'],
    ['logical/pki/crls/1', 'local pki'],
    ['logical/pki/crl-new', 'replicated pki'],
    ['logical/pki/issuers/crl', 'replicated pki'],
    ['logical/pki/config/cluster', 'local pki'],
    ['logical/pki/config/clusters', 'replicated pki'],
    ['logical/pki/acme/accounts/1', 'local pki'],
    ['logical/pki/wal-1', 'local pki'],
    ['logical/pki/x/certs/01', 'replicated pki'],
  ],
  namespaces: [
    ['namespaces/n1/sys/policy/x', 'replicated n1'],
    ['namespaces/n1/sys/token/id/x', 'local n1'],
    ['namespaces/n1/core/mounts/nm', 'replicated nm'],
    ['namespaces/n1/core/seal-config', 'ignored'],
    ['namespaces/n1/logical/nm/data', 'replicated nm'],
    ['namespaces/n1/core/namespaces/n2', 'replicated n2'],
    ['namespaces/n2/sys/policy/x', 'replicated n2'],
  ],
}

function registered() {
  const rules = classRules(vaultRules)
  const mount = (uuid: string, keyPrefix: string, mountPath: string, local = false, localStorage: string[] = []) =>
    rules.registerMount({ uuid, keyPrefix, mountPath, local, localStorage })
  mount('m1', 'logical/m1/', 'secret/')
  mount('m2', 'logical/m2/', 'cubbyhole/', true)
  mount('a1', 'auth/a1/', 'auth/userpass/')
  mount('a2', 'auth/a2/', 'auth/local/', true)
  mount('d1', 'audit/d1/', 'sys/audit/file/')
  mount('d2', 'audit/d2/', 'sys/audit/local/', true)
  mount('pki', 'logical/pki/', 'pki/', false, ['certs/', 'crl', 'crls/', 'config/cluster', 'acme/', 'wal-*'])
  mount('nm', 'namespaces/n1/logical/nm/', 'ns1/secret/')
  rules.registerNamespace({ uuid: 'n1', path: 'ns1/' })
  rules.registerNamespace({ uuid: 'n2', path: 'ns1/team/' })
  return rules
}

const rules = registered()

describe.each(Object.entries(table))('%s', (_group, rows) => {
  test.each(rows)('%s is %s', (key, expected) => {
    const found = rules.classify(key)
    const text = found.class === 'ignored' ? 'ignored' : `${found.class} ${found.mount}`
    expect(text).toBe(expected)
  })
})

test('the table has a key for every declared rule', () => {
  const keys = Object.values(table).flatMap((rows) => rows.map(([key]) => key))
  for (const rule of vaultRules) {
    const covered = 'exact' in rule ? keys.includes(rule.exact) : keys.some((key) => key.startsWith(rule.prefix))
    expect(covered, JSON.stringify(rule)).toBe(true)
  }
})

test('paths for the filter', () => {
  expect(rules.classify('logical/m1/x')).toEqual({ class: 'replicated', mount: 'm1', mountPath: 'secret/' })
  expect(rules.classify('core/auth/a1')).toEqual({ class: 'replicated', mount: 'a1', mountPath: 'auth/userpass/' })
  expect(rules.classify('core/keyring')).toEqual({ class: 'replicated', mount: CORE, mountPath: '' })
  expect(rules.classify('namespaces/n2/sys/policy/x')).toMatchObject({ mount: 'n2', mountPath: 'ns1/team/' })
  expect(rules.classify('namespaces/n1/logical/nm/x')).toMatchObject({ mount: 'nm', mountPath: 'ns1/secret/' })
  expect([CORE, 'pki', 'n2', 'none'].map((mount) => rules.mountPath(mount))).toEqual([
    '',
    'pki/',
    'ns1/team/',
    undefined,
  ])
})
