/** The program of cluster-process.mjs: a store, and what the bench makes it do. */
import { randomFillSync } from 'node:crypto'
import tls from 'node:tls'
import { followPrimary, loggedStore, serveSecondary } from '@lockstep/replication-driver'
import { ALPN, clusterListener, dialCluster } from '@lockstep/replication-transport'
import { transact } from '@lockstep/storage'
import { levelEngine } from '@lockstep/storage-level'

const POSITION = 'core/position'
const BATCH = 2000

/** `core/...` stays here; the first segment of any other key is its mount. */
function classify(key) {
  const mount = key.slice(0, key.indexOf('/'))
  return mount === 'core' ? { class: 'ignored' } : { class: 'replicated', mount, mountPath: `${mount}/` }
}

let engine
let store
let listener
let follower
let keepLog = true
let sender
/** Mount paths withheld from every secondary. */
let denied = []
let filterVersion = 0
let load
/** Bytes of every TLS connection this process has dialled, and what went over the newest link. */
const sockets = new Set()
let traffic = newTraffic()
const samples = []

const { connect } = tls
tls.connect = (...parameters) => {
  const socket = connect(...parameters)
  sockets.add(socket)
  return socket
}

function newTraffic() {
  return { sent: {}, received: {}, roundTrips: 0, bytesBefore: dialledBytes() }
}

function dialledBytes() {
  let bytes = 0
  for (const socket of sockets) bytes += socket.bytesRead + socket.bytesWritten
  return bytes
}

/**
 * Counts messages, and the longest chain of question, answer, next question. A question that follows an answer is one round trip
 * later than it.
 */
function counted(link) {
  const depths = new Map()
  let depth = 0
  const nameOf = ({ type, id }) => (id === undefined ? type.replace('get-', '') : id)
  return {
    ...link,
    send(message) {
      traffic.sent[message.type] = (traffic.sent[message.type] ?? 0) + 1
      if (message.type.startsWith('get-') || message.type === 'hello') {
        depths.set(message.type === 'hello' ? 'welcome' : nameOf(message), depth + 1)
        traffic.roundTrips = Math.max(traffic.roundTrips, depth + 1)
      }
      if (message.type === 'ack') samples.push([message.cursor.index, now()])
      link.send(message)
    },
    messages: (async function* () {
      for await (const message of link.messages) {
        traffic.received[message.type] = (traffic.received[message.type] ?? 0) + 1
        const name = nameOf(message)
        if (depths.has(name)) {
          depth = depths.get(name)
          depths.delete(name)
        }
        yield message
      }
    })(),
  }
}

/** Milliseconds on a clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint() / 1000n) / 1000

const keyOf = (number, mounts) => `kv${number % mounts}/data/${String(Math.floor(number / mounts)).padStart(9, '0')}`

function randomValue(bytes) {
  return randomFillSync(new Uint8Array(bytes))
}

const methods = {
  async open({ directory, logBytes, tailBytes, cacheBytes }) {
    engine = await levelEngine({ path: directory })
    const started = performance.now()
    store = await loggedStore(engine, { classify, keepLog: () => keepLog, logBytes, tailBytes, cacheBytes })
    methods.openSeconds = () => seconds
    const seconds = (performance.now() - started) / 1000
  },

  keepLog(on) {
    keepLog = on
  },

  /** Keys `from` to `from + count - 1`, in bulk transactions. */
  async fill({ from = 0, count, valueBytes, mounts }) {
    for (let at = from; at < from + count; at += BATCH) {
      await transact(store, async (transaction) => {
        for (let number = at; number < Math.min(from + count, at + BATCH); number++) {
          await transaction.put(keyOf(number, mounts), randomValue(valueBytes))
        }
      })
    }
  },

  /** Overwrites existing keys: `stride` apart, or one after another. */
  async change({ count, stride, valueBytes, mounts, total }) {
    for (let at = 0; at < count; at += BATCH) {
      await transact(store, async (transaction) => {
        for (let number = at; number < Math.min(count, at + BATCH); number++) {
          await transaction.put(keyOf((number * stride) % total, mounts), randomValue(valueBytes))
        }
      })
    }
  },

  /** As many writes as `concurrency` callers make, or `rate` a second, to `keys` keys in turn. */
  async write({ seconds, concurrency = 64, rate, keys, valueBytes, mounts, record = false }) {
    const stop = now() + seconds * 1000
    const pattern = randomValue(valueBytes)
    // A value that is there already would not be logged.
    const fresh = (number) => {
      const value = Uint8Array.from(pattern)
      new DataView(value.buffer).setFloat64(0, number)
      return value
    }
    let done = 0
    let next = 0
    samples.length = 0
    const remove = record ? store.log.onAppend(({ index }) => samples.push([index, now()])) : () => {}
    const started = now()
    if (rate === undefined) {
      const caller = async () => {
        while (now() < stop) {
          await store.put(keyOf(next % keys, mounts), fresh(next++))
          done++
        }
      }
      await Promise.all(Array.from({ length: concurrency }, caller))
    } else {
      const open = new Set()
      while (now() < stop) {
        const due = Math.floor(((now() - started) / 1000) * rate)
        while (next < due) {
          const write = store.put(keyOf(next % keys, mounts), fresh(next++)).then(() => {
            done++
            open.delete(write)
          })
          open.add(write)
        }
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      await Promise.all(open)
    }
    remove()
    return { rate: done / ((now() - started) / 1000), samples: record ? samples.slice() : undefined }
  },

  async serve({ cert, key, ca, servername, clusterId }) {
    listener = await clusterListener({ host: '127.0.0.1', port: 0 })
    const view = {
      get id() {
        return `filter ${filterVersion}`
      },
      ships: (_partition, mountPath) => !denied.includes(mountPath),
      mountPathOf: (mount) => `${mount}/`,
    }
    listener.register({
      alpn: ALPN.performance,
      servername,
      cert,
      key,
      ca,
      authorize: (certificate) => ({ id: /CN=(.*)/.exec(certificate.subject)[1] }),
      onLink(link) {
        sender = serveSecondary(
          { store, link, view },
          { kind: 'performance', clusterId, secondaryId: link.peer, consumer: `performance/${link.peer}` },
        )
      },
    })
    return listener.address.port
  },

  filter(paths) {
    denied = paths
    filterVersion++
    sender.viewChanged()
  },
  countOf: (mount) => store.forest.count(`replicated/${mount}`),

  /** Writes at a rate to few keys until `stopLoad`. */
  startLoad({ rate, keys, valueBytes, mounts }) {
    const pattern = randomValue(valueBytes)
    const started = now()
    let next = 0
    let written = 0
    let running = true
    const done = (async () => {
      while (running) {
        const due = Math.floor(((now() - started) / 1000) * rate)
        const writes = []
        for (; next < due && writes.length < 1000; next++) {
          const value = Uint8Array.from(pattern)
          new DataView(value.buffer).setFloat64(0, next)
          writes.push(store.put(keyOf(next % keys, mounts), value))
        }
        await Promise.all(writes)
        written += writes.length
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    load = {
      written: () => written,
      stop() {
        running = false
        return done
      },
    }
  },
  stopLoad: () => load.stop(),
  written: () => load.written(),

  follow({ port, id, cert, key, ca, servername }) {
    // As the server does it: only a primary keeps a log.
    keepLog = false
    traffic = newTraffic()
    samples.length = 0
    follower = followPrimary(
      {
        store,
        dial: async (signal) =>
          counted(
            await dialCluster({
              addresses: [`127.0.0.1:${port}`],
              servername,
              alpn: ALPN.performance,
              ca,
              cert,
              key,
              signal,
            }),
          ),
        accept: (entry) => classify(entry.key).class === 'replicated' || 'not replicated',
        log: { info() {}, warn: (message, fields) => console.error(message, fields) },
      },
      { kind: 'performance', secondaryId: id, positionKey: POSITION, backoff: { minMs: 20, maxMs: 500 } },
    )
  },

  async unfollow() {
    await follower.close()
    follower = undefined
  },

  /** Nothing that happened so far is kept for the secondaries any more. */
  async forgetLog() {
    store.log.retain('performance/one', store.log.head().index)
    await store.log.trim()
  },

  status() {
    const { state, position, lagMs, rounds, diffReason, lastError } = follower.status()
    return { state, index: position.cursor?.index ?? -1, lagMs, rounds, diffReason, lastError }
  },
  senderStatus: () => sender?.status(),
  traffic: () => ({ ...traffic, bytes: dialledBytes() - traffic.bytesBefore }),
  samples: () => samples.slice(),
  head: () => store.log.head().index,
  log: () => ({
    bytes: store.log.bytes(),
    oldest: store.log.oldest(),
    head: store.log.head().index,
    consumers: store.log.consumers(),
  }),
  root: () => Buffer.from(store.forest.composedRoot(() => true)).toString('hex'),
  count: () => store.forest.partitions().reduce((sum, id) => sum + store.forest.count(id), 0),
  usage: () => ({ ...process.memoryUsage(), cpu: process.cpuUsage() }),

  async close() {
    await follower?.close()
    await listener?.close()
    await store.close()
    await engine.close()
  },
}

process.on('message', async ({ id, method, parameters }) => {
  try {
    process.send({ id, result: await methods[method](...parameters) })
  } catch (error) {
    process.send({ id, error: error.stack })
  }
})
process.on('disconnect', () => process.exit(0))
