import type { ConnectionOptions } from 'node:tls'

/** Where the database is. What is left out comes from the PG* environment variables. */
export interface PostgresConnection {
  /** A host name, or a directory with PostgreSQL's Unix socket. */
  host?: string
  port?: number
  user?: string
  password?: string | (() => string | Promise<string>)
  database?: string
  ssl?: boolean | ConnectionOptions
}
