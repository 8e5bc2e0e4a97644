interface WaitingRead {
  readonly key: string
  readonly resolve: (value: Uint8Array | undefined) => void
  readonly reject: (error: unknown) => void
}

/** The two point reads of an engine; each call is one job: a trip to a thread pool or to a server. */
export interface PointReads {
  get(key: string): Promise<Uint8Array | undefined>
  getMany(keys: string[]): Promise<(Uint8Array | undefined)[]>
}

export interface ReadQueueOptions {
  /** Jobs under way at most. */
  jobs: number
  /** Keys per job at most. Default 64. */
  keysPerJob?: number
}

/**
 * Point reads through few jobs: where most of what a read costs is the trip, the reads that wait for a turn under load
 * share the next one. A read that need not wait goes alone and at once.
 */
export class ReadQueue {
  readonly #reads: PointReads
  readonly #maxJobs: number
  readonly #keysPerJob: number
  #jobs = 0
  #waiting: WaitingRead[] = []

  constructor(reads: PointReads, options: ReadQueueOptions) {
    this.#reads = reads
    this.#maxJobs = options.jobs
    this.#keysPerJob = options.keysPerJob ?? 64
  }

  get(key: string): Promise<Uint8Array | undefined> {
    if (this.#jobs < this.#maxJobs) {
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
    const job = this.#waiting.splice(0, this.#keysPerJob)
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
