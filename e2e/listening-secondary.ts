import { deserializeKeyring, type Keyring } from '@lockstep/barrier'
import { parseActivationPackage, primaryServerName } from '@lockstep/bootstrap'
import type { Cluster } from '@lockstep/dev-env'
import type { Link, Message, Plain } from '@lockstep/replication'
import { followPrimary, loggedStore } from '@lockstep/replication-driver'
import { ALPN, dialCluster } from '@lockstep/replication-transport'
import { memoryStore } from '@lockstep/storage'

export interface ListeningSecondary {
  state(): string
  /** Everything received so far as text: names, keys, and values as they came and decrypted. */
  text(): string
  close(): Promise<void>
}

/** A performance secondary made of the packages alone, that writes down every message the primary sends it. */
export async function listeningSecondary(token: string, primary: Cluster): Promise<ListeningSecondary> {
  const unwrapped = await primary.client.write('sys/wrapping/unwrap', {}, { token })
  const { id, clusterId, caCertificate, clientCertificate, clientKey, primaryClusterAddr } = parseActivationPackage(
    unwrapped.body.data,
  )
  let keyring: Keyring | undefined
  const heard: string[] = []
  const records: (readonly [key: string, value: Uint8Array])[] = []

  const dial = async (): Promise<Link> => {
    const link = await dialCluster({
      addresses: [primaryClusterAddr],
      servername: primaryServerName(clusterId),
      alpn: ALPN.performance,
      ca: caCertificate,
      cert: clientCertificate,
      key: clientKey,
    })
    return {
      ...link,
      send: (message) => link.send(message),
      peer: link.peer,
      closed: link.closed,
      messages: tapped(link),
    }
  }
  async function* tapped(link: Link): AsyncIterable<Message> {
    for await (const message of link.messages) {
      // The answer to `bootstrap` is the keyring itself.
      if (message.type !== 'response') note(message)
      yield message
    }
  }
  function note(message: Message): void {
    heard.push(JSON.stringify(message, (_key, value) => (value instanceof Uint8Array ? readable(value) : value)))
    const groups = message.type === 'wal' ? message.groups : message.type === 'entries' ? [message.group] : []
    for (const { keys, values } of groups) {
      keys.forEach((key, index) => {
        const value = values[index]
        if (value) records.push([key, value])
      })
    }
  }

  const store = await loggedStore(memoryStore(), {
    classify: () => ({ class: 'ignored' }),
    writable: () => true,
    keepLog: () => false,
  })
  const follower = followPrimary(
    {
      store,
      dial,
      clock: { now: Date.now },
      accept: () => true,
      report: () => ({ canary: 0, addresses: [], apiAddress: '' }),
      onRequest: () => Promise.reject(new Error('nothing is served here')),
    },
    { kind: 'performance', secondaryId: id, positionKey: 'position' },
  )
  for (let attempt = 0; keyring === undefined; attempt++) {
    try {
      const reply = (await follower.request('bootstrap', {})) as { [key: string]: Plain }
      keyring = deserializeKeyring(reply.keyring as Uint8Array)
    } catch (error) {
      if (attempt > 200) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return {
    state: () => follower.status().state,
    text() {
      const opened = records
        .filter(([key]) => key !== 'core/keyring')
        .map(([key, value]) => readable(keyring!.open(key, value)))
      return [...heard, ...opened].join('\n')
    },
    async close() {
      await follower.close()
      await store.close()
    },
  }
}

function readable(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}
