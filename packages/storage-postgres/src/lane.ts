import { type ClientConfig, Pool, type PoolClient } from 'pg'

/** One connection out of a lane, to be given back once. */
export class Lease {
  readonly client: PoolClient
  readonly #onRelease: (lease: Lease) => void
  #released = false

  constructor(client: PoolClient, onRelease: (lease: Lease) => void) {
    this.client = client
    this.#onRelease = onRelease
  }

  /** `destroy`: its state is unknown, do not use it again. */
  release(destroy = false): void {
    if (this.#released) return
    this.#released = true
    this.#onRelease(this)
    this.client.release(destroy)
  }
}

/** Connections set apart for one kind of work, so that kinds that hold one for long cannot starve the others. */
export class Lane {
  readonly size: number
  readonly #pool: Pool
  readonly #leases = new Set<Lease>()

  constructor(config: ClientConfig, size: number) {
    this.size = size
    this.#pool = new Pool({ ...config, max: size })
    // An idle connection that breaks is replaced when the next one is needed.
    this.#pool.on('error', () => {})
  }

  async query<Row extends unknown[]>(statement: Statement): Promise<Row[]> {
    const { rows } = await this.#pool.query<Row>({ ...statement, rowMode: 'array' })
    return rows
  }

  async lease(): Promise<Lease> {
    const client = await this.#pool.connect()
    // A connection that breaks while leased fails the query under way or the next one.
    const ignore = () => {}
    client.on('error', ignore)
    const lease = new Lease(client, () => {
      client.off('error', ignore)
      this.#leases.delete(lease)
    })
    this.#leases.add(lease)
    return lease
  }

  /** Takes back what is still leased. */
  async close(): Promise<void> {
    for (const lease of this.#leases) lease.release(true)
    await this.#pool.end()
  }
}

export interface Statement {
  /** Prepared once per connection under this name. */
  name: string
  text: string
  values: unknown[]
}
