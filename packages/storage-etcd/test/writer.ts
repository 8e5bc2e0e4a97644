// Run by the tests in a process of its own, to be killed or stopped.
import { etcdLeaderLock, etcdStore } from '../src/index.ts'

const { endpoints, prefix, key, length } = JSON.parse(process.env.LOCKSTEP_WRITER!) as {
  endpoints: string
  prefix: string
  key: string
  length: number
}

const say = (line: string) => process.stdout.write(`${line}\n`)

// It never notices by itself that its time is over: only etcd can tell it.
if (process.argv[3] === 'stopped-clock') performance.now = () => 0

switch (process.argv[2]) {
  case 'write': {
    const store = await etcdStore({ endpoints, prefix })
    await Promise.all(
      Array.from({ length: 4 }, async (_, writer) => {
        for (let i = 0; ; i++) {
          const name = `w/${writer}-${i}`
          await store.put(name, Buffer.from(name))
          say(`stored ${name}`)
        }
      }),
    )
    break
  }
  case 'large': {
    const store = await etcdStore({ endpoints, prefix })
    await store.put(key, new Uint8Array(length))
    say('committed')
    break
  }
  case 'lead': {
    const leadership = await etcdLeaderLock({ endpoints, prefix }).acquire()
    await leadership.publish('the writer')
    void leadership.lost.then(() => say('lost'))
    const store = await etcdStore({ endpoints, prefix, fencedBy: leadership })
    for (let i = 0; ; i++) {
      try {
        await store.put(`w/${i}`, Buffer.from('1'))
        say(`stored w/${i}`)
      } catch (error) {
        say(`refused ${(error as { code?: string }).code}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }
}
