/** Where a device's lines go. */
import type { Writable } from 'node:stream'

export interface LineSink {
  /** Resolves once the line (with its line feed) was handed to the operating system. */
  write(line: string): Promise<void>
  /** Opens the file again by its name, after it was moved away. */
  reopen(): Promise<void>
  /** Waits for what is being written; later writes reject. */
  close(): Promise<void>
}

export function streamSink(stream: Writable): LineSink {
  return {
    write: (line) =>
      new Promise((resolve, reject) => {
        stream.write(line, (error) => (error ? reject(error) : resolve()))
      }),
    reopen: async () => {},
    close: async () => {},
  }
}

/** Takes everything, keeps nothing. */
export const discardSink: LineSink = {
  write: async () => {},
  reopen: async () => {},
  close: async () => {},
}
