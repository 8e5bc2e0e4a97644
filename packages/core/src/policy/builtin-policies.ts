import type { PolicyRule } from './rule.ts'

/** Written once, when a cluster is initialized; operators may edit it afterwards. */
export const defaultPolicyText = `# Every token may see, renew and give up itself.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# Ask what it may do: path by path, or as a whole (for user interfaces).
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Read the identity behind it.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Look up and renew leases whose id it knows. The old path of renew serves old clients.
path "sys/leases/lookup" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/renew" {
  capabilities = ["update"]
}

# Its own private store.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Wrap responses, and open those it was handed.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Hash data.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# Sign in to OIDC clients.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
`

export const wrappingPolicyName = 'response-wrapping'

/** What a wrapping token may do. Fixed: neither stored, nor listed, nor assignable. */
export const wrappingPolicyText = `path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
`

export const wrappingPolicyRules: readonly PolicyRule[] = [
  { path: 'cubbyhole/response', capabilities: ['create', 'read'] },
  { path: 'sys/wrapping/unwrap', capabilities: ['update'] },
]

/** Policies no token may be given by name. */
export const unassignablePolicies: ReadonlySet<string> = new Set([wrappingPolicyName])
