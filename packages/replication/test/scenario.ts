/**
 * The language of testdata/*.txt: one primary, one secondary, one link, and a trace of all that passes. A file is a title in
 * `#` lines and blocks of commands, `----`, and what they print. `UPDATE_TESTDATA=1` writes what is printed into the files.
 */
import {
  CLASSES_OF_KIND,
  type LinkKind,
  type Message,
  type PrimaryEffect,
  parsePartitionId,
  type SecondaryEffect,
  type VersionRange,
} from '@lockstep/replication'
import { type ModelCluster, modelCluster } from './model-cluster.ts'
import { type Mangling, type SimulatedLink, simulatedLink } from './simulated-link.ts'

export interface Block {
  commands: string[]
  expected: string[]
}

export function parseScenario(text: string): { title: string[]; blocks: Block[] } {
  const [title, ...blocks] = text.trimEnd().split('\n\n')
  return {
    title: title!.split('\n'),
    blocks: blocks.map((block) => {
      const lines = block.split('\n')
      const cut = lines.indexOf('----')
      if (cut < 0) throw new Error(`a block without ----: ${lines[0]}`)
      return { commands: lines.slice(0, cut), expected: lines.slice(cut + 1) }
    }),
  }
}

export function formatScenario(title: readonly string[], blocks: readonly Block[]): string {
  const body = blocks.map(({ commands, expected }) => [...commands, '----', ...expected].join('\n'))
  return `${[title.join('\n'), ...body].join('\n\n')}\n`
}

type Command = (args: string[]) => void

export function scenario(): { play(commands: readonly string[]): string[] } {
  let out: string[] = []
  let quiet = false
  let now = 1_000_000
  let kind: LinkKind = 'performance'
  let denied: string[] = []
  let viewVersion = 1
  let refused = ''
  let batchBytes = 512 * 1024
  let rewrite: Record<string, unknown> = {}
  let restore = () => {}
  const versions: { [end in 'primary' | 'secondary']?: VersionRange } = {}
  let link: SimulatedLink | undefined
  const primary = modelCluster('primary')
  const secondary = modelCluster('secondary')

  const trace = (from: 'primary' | 'secondary', message: Message) => {
    if (quiet || message.type === 'ping' || message.type === 'pong') return
    out.push(`${from === 'primary' ? 'P' : 'S'}> ${show(message)}`)
  }
  const traceEffect = (side: 'primary' | 'secondary', effect: PrimaryEffect | SecondaryEffect) => {
    if (quiet) return
    const who = side === 'primary' ? 'P' : 'S'
    if (effect.type === 'retain') out.push(`${who}  retains the log after ${effect.index}`)
    if (effect.type === 'close') out.push(`${who}  closes: ${effect.code}${effect.byPeer ? ' (by peer)' : ''}`)
    if (effect.type !== 'apply') return
    const deletions = effect.deletions.reduce((sum, { keyIds }) => sum + keyIds.length, 0)
    const { cursor } = effect.position
    const deleted = deletions > 0 ? ` deletes ${deletions}` : ''
    const written = effect.entries.length > 0 ? ` writes ${effect.entries.length}` : ''
    out.push(`${who}  applies${deleted}${written} cursor=${cursor ? `${cursor.epoch}.${cursor.index}` : 'none'}`)
  }

  const theLink = (): SimulatedLink => {
    link ??= simulatedLink(
      { primary, secondary },
      {
        kind,
        secondaryId: 'two',
        view: {
          get id() {
            return `view-${viewVersion}`
          },
          ships: (_partition, mountPath) => !denied.includes(mountPath),
          mountPathOf: (mount) => primary.mounts.get(mount),
        },
        accept: ({ mountPath }) => (mountPath === refused ? `${mountPath} is withheld from this cluster` : true),
        onSend: trace,
        onEffect: traceEffect,
        rewriteHello: (hello) => ({ ...hello, ...rewrite }) as Message,
        get primary() {
          return { answerBytes: 64 * 1024, batchBytes, ...(versions.primary && { protocol: versions.primary }) }
        },
        get secondary() {
          return versions.secondary ? { protocol: versions.secondary } : {}
        },
      },
    )
    return link
  }

  const put = (mount: string, key: string, value: string | null, cluster: ModelCluster = primary) => {
    const [name, local] = mount.split(':')
    const partition = { class: local === 'local' ? 'local' : 'replicated', mount: name! } as const
    cluster.commit([{ partition, key, value: value === null ? null : Buffer.from(value) }])
    if (cluster === primary) link?.appended(now)
  }

  /** One step of the queues in turn; false when all is quiet. */
  let turn = 0
  const step = (): boolean => {
    const ready = theLink().ready()
    if (ready.length === 0) return false
    theLink().take(ready[turn++ % ready.length]!, now)
    return true
  }

  const commands: Record<string, Command> = {
    kind: ([name]) => {
      kind = name as LinkKind
    },
    mount: ([mount, path]) => {
      primary.mounts.set(mount!, path!)
      secondary.mounts.set(mount!, path!)
    },
    // put <mount>[:local] <key> <value>
    put: ([mount, key, value]) => put(mount!, key!, value!),
    delete: ([mount, key]) => put(mount!, key!, null),
    fill: ([mount, count]) => {
      for (let n = 0; n < Number(count); n++) put(mount!, `${mount}/${n}`, `value ${n}`)
    },
    // own <mount>[:local] <key> <value>: a write of the secondary itself
    own: ([mount, key, value]) => put(mount!, key!, value!, secondary),
    // versions primary|secondary <min> <max>: what this end speaks from the next connection on
    versions: ([end, min, max]) => {
      versions[end as 'primary' | 'secondary'] = { min: Number(min), max: Number(max) }
    },
    // batches <bytes>: the primary reads its log in pieces of this size, from the next connection on
    batches: ([bytes]) => {
      batchBytes = Number(bytes)
    },
    // link drop|repeat|swap|damage: does it to the next batch of the log, once that is under way (for swap, once two are)
    link: ([how]) => {
      while (!theLink().mangle(how as Mangling)) {
        if (!theLink().ready().includes('primary reads')) throw new Error('no batch is under way')
        theLink().take('primary reads', now)
      }
    },
    // disown <mount> <key>: the secondary itself deletes it
    disown: ([mount, key]) => put(mount!, key!, null, secondary),
    // tamper <mount> <count>: the secondary's own writes to the first keys that `fill` made
    tamper: ([mount, count]) => {
      for (let n = 0; n < Number(count); n++) put(mount!, `${mount}/${n}`, `tampered ${now}`, secondary)
    },
    connect: () => theLink().connect(now),
    cut: () => theLink().cut(),
    crash: () => theLink().crashSecondary(),
    // run: until all is quiet; run <n>: n steps
    run: ([count]) => {
      for (let n = 0; n < Number(count ?? 10_000); n++) if (!step()) return
      if (count === undefined) throw new Error('never quiet')
    },
    // storm <mount> <key>: run until quiet, but change the key after each of the first 200 steps
    storm: ([mount, key]) => {
      for (let n = 0; n < 200 && step(); n++) put(mount!, key!, `storm ${n}`)
      while (step());
    },
    tick: ([ms]) => {
      now += Number(ms)
      theLink().tick(now)
    },
    // idle <seconds>: a tick and quiet each second
    idle: ([seconds]) => {
      for (let n = 0; n < Number(seconds); n++) {
        now += 1000
        theLink().tick(now)
        while (step());
      }
    },
    filter: (paths) => {
      denied = paths
      viewVersion++
      link?.viewChanged(now)
    },
    refuse: ([path]) => {
      refused = path!
    },
    move: ([mount, path]) => {
      primary.mounts.set(mount!, path!)
      viewVersion++
      link?.viewChanged(now)
    },
    trim: () => primary.trim(primary.head().index),
    promote: () => primary.startEpoch(),
    backup: () => {
      restore = primary.snapshot()
    },
    restore: () => restore(),
    compare: () => theLink().compare('asked by an operator', now),
    // hello <json>: fields to replace in the secondary's next hellos
    hello: (words) => {
      rewrite = JSON.parse(words.join(' '))
    },
    // quiet: no trace for the rest of the block
    quiet: () => {
      quiet = true
    },
    log: () => {
      const { epoch, index } = primary.head()
      out.push(`log of the primary: ${primary.oldest()} to ${index}, epoch ${epoch}`)
    },
    status: () => {
      const status = theLink().secondary?.status(now)
      const last = theLink().ended ? `, last link: ${theLink().ended}` : ''
      if (!status) {
        out.push(`no link${last}`)
        return
      }
      const { cursor } = status.position
      out.push(
        `secondary ${status.state} at ${cursor ? `${cursor.epoch}.${cursor.index}` : 'none'}, head ${status.primaryHead}, lag ${status.lagMs} ms, verified at ${status.verified?.index ?? 'none'}, rounds ${status.rounds}, failed guards ${status.guardFailures}`,
      )
      const { streamFaults: faults, lastRepair: repair } = status
      if (repair) {
        const where = repair.partitions.map(({ partition, keys }) => ` ${partition}(${keys})`).join('')
        const done = repair.repairedAt > 0 ? 'repaired' : 'under repair'
        const { reason, from, to, keys } = repair
        out.push(`  ${faults} faults; last: ${reason}, after ${from} to ${to}, ${done}, ${keys} keys differed${where}`)
      }
      const served = theLink().primary?.status(now)
      if (!served) return
      out.push(
        `primary ${served.state}, sent ${served.sentIndex}, acknowledged ${served.acknowledged?.index ?? 'none'}, in flight ${served.inFlightBytes}`,
      )
    },
    contents: () => {
      const counts = new Map<string, number>()
      for (const { partition } of secondary.contents().values()) {
        counts.set(partition, (counts.get(partition) ?? 0) + 1)
      }
      out.push(
        `secondary holds: ${
          [...counts]
            .sort()
            .map(([id, count]) => `${id} ${count}`)
            .join(', ') || 'nothing'
        }`,
      )
      const inScope = (id: string) => CLASSES_OF_KIND[kind].some((name) => id.startsWith(`${name}/`))
      const shipped = (id: string) =>
        inScope(id) && !denied.includes(primary.mounts.get(parsePartitionId(id)!.mount) ?? '')
      const roots = [primary.forest.composedRoot(shipped), secondary.forest.composedRoot(inScope)]
      out.push(Buffer.compare(roots[0]!, roots[1]!) === 0 ? 'roots are equal' : 'roots differ')
    },
    get: ([key]) => {
      const value = secondary.contents().get(key!)?.value
      out.push(`${key} = ${value ? Buffer.from(value).toString() : 'absent'}`)
    },
  }

  return {
    play(lines) {
      out = []
      quiet = false
      for (const line of lines) {
        if (line.startsWith('#')) continue
        const [name, ...args] = line.split(' ')
        if (!Object.hasOwn(commands, name!)) throw new Error(`unknown command ${name}`)
        commands[name!]!(args)
      }
      return out
    },
  }
}

/** A message on one line, without hashes. */
function show(message: Message): string {
  const fields: string[] = []
  for (const [name, value] of Object.entries(message)) {
    if (name === 'type' || name === 'digest' || name === 'state') continue
    const text = showField(name, value)
    if (text !== '') fields.push(text)
  }
  return [message.type, ...fields].join(' ')
}

function showField(name: string, value: unknown): string {
  if (value === null) return ''
  if (name === 'groups' || name === 'group') return ([value].flat() as ShownGroup[]).map(showGroup).join(' ')
  if (name === 'items')
    return (value as { partition: string; count: number }[]).map((i) => `${i.partition}(${i.count})`).join(' ')
  if (name === 'nodes')
    return (value as { kind: string; count: number }[]).map((n) => `${n.kind}(${n.count})`).join(' ')
  if (name === 'symbols' && value instanceof Uint8Array) return `symbols=${value.length / 29}`
  if (name === 'keyIds') return `keys=${(value as Uint8Array).length / 16}`
  if (name === 'paths') return `paths=${(value as string[]).map((path) => path || 'root').join(',')}`
  if (value instanceof Uint8Array) return name
  if (typeof value === 'object' && 'index' in value) {
    const cursor = value as unknown as { epoch: number; index: number }
    return `${name}=${cursor.epoch}.${cursor.index}`
  }
  if (typeof value === 'object') return `${name}=${JSON.stringify(value)}`
  return value === ''
    ? ''
    : `${name}=${typeof value === 'string' && value.includes(' ') ? JSON.stringify(value) : value}`
}

type ShownGroup = { partition: string; keys: string[]; values: (Uint8Array | null)[] }

function showGroup(group: ShownGroup): string {
  const names = group.keys.map((key, at) => (group.values[at] === null ? `-${key}` : key))
  const shown = names.length > 5 ? `${names.length} keys` : names.join(',')
  return `${group.partition}{${shown}}`
}
