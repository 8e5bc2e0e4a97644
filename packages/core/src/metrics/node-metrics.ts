/** What one node shows of itself, in whatever state it is. */
import type { ModeWord } from '../replication/manager.ts'
import { type Meter, type MetricsSnapshot, type Sample, sample } from './meter.ts'

export interface NodeMetricsComponents {
  meter: Meter
  clock: { now(): number }
  state(): 'sealed' | 'standby' | 'active'
  modes(): Promise<{ performance: ModeWord; dr: ModeWord }>
  /** Of the auto seal. */
  seals(): Sample[]
  /** Of the roles, while they run here. */
  replication(): Promise<Sample[]>
}

export function nodeMetrics(components: NodeMetricsComponents): () => Promise<MetricsSnapshot> {
  const { meter, clock, state, modes, seals, replication } = components
  const started = clock.now()
  return async () => {
    const { performance, dr } = await modes()
    const is = (yes: boolean): number => (yes ? 1 : 0)
    const samples = [
      sample('core.unsealed', is(state() !== 'sealed')),
      sample('core.active', is(state() === 'active')),
      sample('core.performance_standby', 0),
      sample('core.replication.performance.primary', is(performance === 'primary')),
      sample('core.replication.performance.secondary', is(performance === 'secondary')),
      sample('core.replication.dr.primary', is(dr === 'primary')),
      sample('core.replication.dr.secondary', is(dr === 'secondary')),
      ...seals(),
      ...(await replication()),
      ...meter.samples(),
    ]
    return { time: clock.now(), seconds: Math.max(0, clock.now() - started) / 1000, samples }
  }
}
