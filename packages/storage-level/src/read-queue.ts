// More would not be faster: LevelDB reads are short and the thread pool, of four threads, has other work.
const MAX_JOBS = 2
const MAX_KEYS_PER_JOB = 64

interface WaitingRead {
  readonly key: string
  readonly resolve: (value: Uint8Array | undefined) => void
  readonly reject: (error: unknown) => void
}

/** The two reads of LevelDB; each call is one job of the thread pool. */
export interface PointReads {
  get(key: string): Promise<Uint8Array | undefined>
  getMany(keys: string[]): Promise<(Uint8Array | undefined)[]>
}

/**
 * Point reads that run in the thread pool, since a cold read must not stop the event loop. Most of what such a read
 * costs is the trip to the pool and back, so under load the reads that wait for a turn share one trip.
 */
export class ReadQueue {
  readonly #reads: PointReads
  #jobs = 0
  #waiting: WaitingRead[] = []

  constructor(reads: PointReads) {
    this.#reads = reads
  }

  get(key: string): Promise<Uint8Array | undefined> {
    if (this.#jobs < MAX_JOBS) {
      this.#jobs++
      const value = this.#reads.get(key)
      value.then(this.#next, this.#next)
      return value
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject })
    })
  }

  /** Gives the turn of a finished job to the reads that wait. */
  readonly #next = (): void => {
    if (this.#waiting.length === 0) {
      this.#jobs--
      return
    }
    const job = this.#waiting.splice(0, MAX_KEYS_PER_JOB)
    this.#reads.getMany(job.map((read) => read.key)).then(
      (values) => {
        this.#next()
        for (let i = 0; i < job.length; i++) job[i]!.resolve(values[i])
      },
      (error: unknown) => {
        this.#next()
        for (const read of job) read.reject(error)
      },
    )
  }
}
