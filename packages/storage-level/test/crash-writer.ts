/** Run as a process of its own by crash.test.ts: writes without end and says what was acknowledged. */
import { writeSync } from 'node:fs'
import { levelStore } from '../src/index.ts'

const [path, round] = process.argv.slice(2)
const store = await levelStore({ path: path! })
const encoder = new TextEncoder()

async function write(writer: number): Promise<never> {
  for (let i = 0; ; i++) {
    const name = `${round}-${writer}-${i}`
    if (i % 2 === 0) {
      await store.put(`single/${name}`, encoder.encode(name))
    } else {
      const transaction = await store.begin()
      await transaction.put(`pair/a/${name}`, encoder.encode(name))
      await transaction.put(`pair/b/${name}`, encoder.encode(name))
      await transaction.commit()
    }
    // Synchronous, so the line is out of this process before anything else happens.
    writeSync(1, `${name}\n`)
  }
}

await Promise.all(Array.from({ length: 6 }, (_, writer) => write(writer)))
