/** The demo's terminal view: numbered steps, and below them a panel of the three clusters that keeps itself up to date. */
import { type Cluster, replicationStatus } from '../index.ts'

const REFRESH_MS = 250
const WIDTH = 100

export interface View {
  step(title: string): void
  /** One line under the current step. */
  say(text: string): void
  /** Prints the panel once, for good. */
  snapshot(): Promise<void>
  stop(): void
}

/** A row of the panel. */
export type Shown = Pick<Cluster, 'name' | 'client'>

export interface ViewOptions {
  /** Redraw the panel in place. Default: whether stdout is a terminal. */
  live?: boolean
}

export function demoView(clusters: () => readonly Shown[], options: ViewOptions = {}): View {
  const live = options.live ?? process.stdout.isTTY === true
  let number = 0
  let panel: string[] = []
  let drawn = 0

  function erase(): void {
    if (drawn > 0) process.stdout.write(`\x1b[${drawn}A\x1b[0J`)
    drawn = 0
  }
  function draw(): void {
    if (!live || panel.length === 0) return
    process.stdout.write(`${panel.join('\n')}\n`)
    drawn = panel.length
  }
  function print(text: string): void {
    erase()
    process.stdout.write(`${text}\n`)
    draw()
  }

  let refreshing = false
  const timer = live
    ? setInterval(() => {
        if (refreshing) return
        refreshing = true
        panelLines(clusters())
          .then((lines) => {
            erase()
            panel = lines
            draw()
          })
          .catch(() => {})
          .finally(() => {
            refreshing = false
          })
      }, REFRESH_MS)
    : undefined

  return {
    step(title) {
      number++
      print(`\n${bold(`${number}. ${title}`)}`)
    },
    say: (text) => print(`   ${text}`),
    async snapshot() {
      print((await panelLines(clusters())).join('\n'))
    },
    stop() {
      clearInterval(timer)
      erase()
      panel = []
    },
  }
}

async function panelLines(clusters: readonly Shown[]): Promise<string[]> {
  const rows = await Promise.all(clusters.map(clusterRow))
  const line = '─'.repeat(WIDTH)
  const head = ['cluster', 'role', 'state', 'wal', 'lag', 'perf. root', 'DR root']
  return [line, columns(head), ...rows.map(columns), line]
}

async function clusterRow(cluster: Shown): Promise<string[]> {
  const [performance, dr] = await Promise.all([shown(cluster, 'performance'), shown(cluster, 'dr')])
  if (performance === undefined || dr === undefined) return [cluster.name, 'down', '', '', '', '', '']
  const roles = [
    ...(performance.mode === 'disabled' ? [] : [`performance ${performance.mode}`]),
    ...(dr.mode === 'disabled' ? [] : [`DR ${dr.mode}`]),
  ]
  const secondary = [performance, dr].find(({ mode }) => mode === 'secondary')
  const primary = [performance, dr].find(({ mode }) => mode === 'primary')
  const status = secondary ?? primary
  return [
    cluster.name,
    roles.join(', ') || 'no replication',
    status?.state ?? '',
    String(secondary?.last_remote_wal ?? primary?.last_wal ?? ''),
    secondary === undefined ? '' : `${Math.round(secondary.lag_ms)} ms`,
    performance.merkle_root?.slice(0, 8) ?? '',
    dr.merkle_root?.slice(0, 8) ?? '',
  ]
}

// biome-ignore lint/suspicious/noExplicitAny: a status document
async function shown(cluster: Shown, kind: 'performance' | 'dr'): Promise<any> {
  try {
    return await replicationStatus(cluster, kind)
  } catch {
    return undefined
  }
}

function columns(cells: readonly string[]): string {
  const widths = [14, 36, 13, 8, 9, 11, 8]
  return ` ${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('')}`.slice(0, WIDTH + 16).trimEnd()
}

function bold(text: string): string {
  return process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text
}
