import { Client, type ClientBase, type ClientConfig } from 'pg'

/** One session of the server, told from any other it ever had: process ids come back. */
export interface Session {
  readonly pid: number
  /** As the server writes it. */
  readonly startedAt: string
}

interface StartupParameters {
  options: string | undefined
}

/**
 * A connection with the settings of its configuration, whatever its URL says: with node-postgres the URL would win. One that breaks fails
 * the query under way or the next one, and nothing else.
 */
export class SettledClient extends Client {
  constructor(config?: ClientConfig) {
    super(config)
    // Where nobody listens an error ends the process, and the pool hands a connection over a moment before anybody can: it may have been cut as
    // soon as it was made.
    this.on('error', () => {})
    const parameters = (this as unknown as { connectionParameters: StartupParameters }).connectionParameters
    if (parameters.options !== config?.options) {
      parameters.options = [parameters.options, config?.options].filter(Boolean).join(' ')
    }
  }
}

/** Asked of the server: a connection pooler gives process ids of its own. */
export async function sessionOf(client: ClientBase): Promise<Session> {
  const { rows } = await client.query<Session>(
    'SELECT pid, backend_start::text AS "startedAt" FROM pg_stat_activity WHERE pid = pg_backend_pid()',
  )
  return rows[0]!
}

/** Ends a connection from this side, whatever it is doing; the server may never hear of it. */
export function hangUp(client: object): void {
  ;(client as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
}
