import { LOCKSTEP_VERSION, VAULT_VERSION } from '../version.ts'

export const VERSION_LINE = `Lockstep v${LOCKSTEP_VERSION} (Vault API ${VAULT_VERSION})`

export const USAGE = `Usage: lockstep <command> [flags]

Commands:
  server             run a server
  operator migrate   move what is stored to another storage, with no server running
  version            print the version

Flags of server:
  -config=PATH               an HCL or JSON file, or a directory of them; may be given several times
  -log-level=LEVEL           trace, debug, info, warn or error
  -log-format=FORMAT         standard or json
  -dev                       in memory, initialized and unsealed at once: never for real secrets
  -dev-root-token-id=ID      the root token of dev mode
  -dev-listen-address=ADDR   host:port of dev mode, default 127.0.0.1:8200
  -dev-no-store-token        do not write the root token to ~/.vault-token

Flags of operator migrate:
  -config=FILE               an HCL or JSON file with storage_source "type" { ... } and storage_destination "type" { ... }
  -start=KEY                 go on from this key, where an interrupted migration said it had come
  -reset                     remove the lock that a migration has left which did not end in order, and migrate nothing
  -max-parallel=N            batches written at the same time, default 10
  -log-level=LEVEL           trace, debug, info, warn or error
`
