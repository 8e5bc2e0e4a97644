// sys/metrics in both forms, who may read it, and the alert rules that are shipped with it.
import { readFile } from 'node:fs/promises'
import { CoreError, METRICS, type MetricSample, type MetricsSnapshot } from '@lockstep/core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { metricsJson, prometheusName, prometheusText } from '../src/http/metrics-format.ts'
import { listening } from './client.ts'
import { fakeCore } from './fake-core.ts'

const gauge = (name: MetricSample['name'], value: number, labels = {}): MetricSample => ({
  ...{ name, kind: 'gauge', help: METRICS[name][1], labels, value },
})
const snapshot: MetricsSnapshot = {
  time: Date.parse('2026-11-23T10:00:00Z'),
  seconds: 10,
  samples: [
    gauge('core.unsealed', 1),
    gauge('replication.secondary.connected', 1, { kind: 'dr', secondary: 'a"b\\' }),
    gauge('replication.secondary.connected', 0, { kind: 'performance', secondary: 'eu' }),
    { ...gauge('core.active', 30, { kind: 'dr', direction: 'sent' }), name: 'replication.link.bytes', kind: 'counter' },
    {
      ...{ name: 'wal.persistWALs', kind: 'summary', help: 'ms', labels: {} },
      summary: { count: 2, sum: 6, min: 2, max: 4, sumOfSquares: 20, quantiles: { '0.5': 4, '0.9': 4, '0.99': 4 } },
    },
  ],
}

test("JSON has the shape of Vault's", () => {
  expect(metricsJson(snapshot)).toEqual({
    Timestamp: '2026-11-23 10:00:00 +0000 UTC',
    Gauges: [
      { Name: 'vault.core.unsealed', Value: 1, Labels: {} },
      { Name: 'vault.replication.secondary.connected', Value: 1, Labels: { kind: 'dr', secondary: 'a"b\\' } },
      { Name: 'vault.replication.secondary.connected', Value: 0, Labels: { kind: 'performance', secondary: 'eu' } },
    ],
    Points: [],
    Counters: [
      expect.objectContaining({ Name: 'vault.replication.link.bytes', Sum: 30, Rate: 3, Labels: expect.any(Object) }),
    ],
    Samples: [
      {
        ...{ Name: 'vault.wal.persistWALs', Labels: {}, Count: 2, Rate: 0.6, Sum: 6, Min: 2, Max: 4, Mean: 3 },
        Stddev: Math.SQRT2,
      },
    ],
  })
})

test('the text format of Prometheus', async () => {
  const text = await prometheusText().text(snapshot)
  expect(text).toContain('# TYPE vault_core_unsealed gauge\nvault_core_unsealed 1\n')
  expect(text).toContain('vault_replication_secondary_connected{kind="dr",secondary="a\\"b\\\\"} 1\n')
  expect(text).toContain('# TYPE vault_replication_link_bytes counter\n')
  expect(text).toContain('# TYPE vault_wal_persistWALs summary\nvault_wal_persistWALs{quantile="0.5"} 4\n')
  expect(text).toContain('vault_wal_persistWALs_sum 6\nvault_wal_persistWALs_count 2\n')
  expect(text).toContain('process_cpu_seconds_total')
  // Names are declared once.
  const declared = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  expect(new Set(declared).size).toBe(declared.length)
})

describe('sys/metrics', () => {
  const core = fakeCore()
  const servers: Awaited<ReturnType<typeof listening>>[] = []
  beforeAll(async () => {
    core.snapshot = snapshot
    for (const unauthenticatedMetrics of [false, true]) servers.push(await listening(core, { unauthenticatedMetrics }))
  })
  afterAll(() => Promise.all(servers.map(({ app }) => app.close(0))))
  beforeEach(() => {
    core.requests.length = 0
    core.answer = () => ({ status: 200, bare: snapshot })
  })

  test('asks the core with the token', async () => {
    const [server] = servers
    const reply = await server!.send('/v1/sys/metrics', { headers: { 'X-Vault-Token': 'hvs.x' } })
    expect(reply).toMatchObject({ status: 200, json: { Gauges: expect.any(Array) } })
    expect(core.requests).toMatchObject([{ operation: 'read', path: 'sys/metrics', clientToken: 'hvs.x' }])
    const text = await server!.send('/v1/sys/metrics?format=prometheus', { headers: { 'X-Vault-Token': 'hvs.x' } })
    expect(text.headers['content-type']).toContain('text/plain; version=0.0.4')
    expect(text.text).toContain('vault_core_unsealed 1')
    core.answer = () => Promise.reject(new CoreError('CORE_PERMISSION_DENIED', 'permission denied'))
    expect(await server!.send('/v1/sys/metrics')).toMatchObject({
      status: 403,
      json: { errors: ['permission denied'] },
    })
    expect(await server!.send('/v1/sys/metrics?format=carbon')).toMatchObject({ status: 400 })
    expect((await server!.send('/v1/sys/metrics', { method: 'PUT' })).status).toBe(405)
  })

  test("a standby does not pass the active node's off as its own", async () => {
    core.answer = () => Promise.reject(new CoreError('CORE_STANDBY', 'Vault is in standby mode'))
    core.leaderBody = { ha_enabled: true, is_self: false, leader_address: 'http://active:8200' }
    const reply = await servers[0]!.send('/v1/sys/metrics?format=prometheus')
    expect(reply).toMatchObject({ status: 400, json: { errors: ['cannot forward local-only request'] } })
  })

  test('a listener may show it to everyone, also of a sealed node', async () => {
    core.answer = () => Promise.reject(new CoreError('CORE_SEALED', 'Vault is sealed'))
    expect(await servers[0]!.send('/v1/sys/metrics')).toMatchObject({ status: 503 })
    const reply = await servers[1]!.send('/v1/sys/metrics?format=prometheus')
    expect(reply).toMatchObject({ status: 200 })
    expect(reply.text).toContain('vault_core_unsealed 1')
  })
})

describe('the alert rules', () => {
  const file = new URL('../../../deploy/alerts/lockstep.rules.yaml', import.meta.url)
  const NAMES = new Set(Object.keys(METRICS).map(prometheusName))
  const SUMMARIES = new Set(
    Object.entries(METRICS)
      .filter(([, [kind]]) => kind === 'summary')
      .map(([name]) => prometheusName(name)),
  )

  test('name only metrics that exist, and cover what an operator is to be told of', async () => {
    const text = await readFile(file, 'utf8')
    const expressions = [...text.matchAll(/^ +expr: (.+)$/gm)].map(([, expression]) => expression!)
    expect(expressions.length).toBe([...text.matchAll(/- alert: /g)].length)
    const used = new Set(expressions.flatMap((expression) => expression.match(/vault_\w+/g) ?? []))
    for (const name of used) {
      const summary = name.replace(/_(?:count|sum)$/, '')
      expect(NAMES.has(name) || SUMMARIES.has(summary), name).toBe(true)
    }
    for (const needed of [
      'vault_replication_streaming',
      'vault_replication_connected',
      'vault_replication_secondary_connected',
      'vault_replication_heartbeat_age_seconds',
      'vault_wal_flushReady',
      'vault_logshipper_buffer_size',
      'vault_replication_lag_seconds',
    ]) {
      expect(used, needed).toContain(needed)
    }
    // A quantile is asked of summaries only.
    for (const [, name] of text.matchAll(/(vault_\w+)\{quantile=/g)) expect(SUMMARIES, name).toContain(name)
  })

  test('are well-formed: every alert has a severity, a summary and a description', async () => {
    const alerts = (await readFile(file, 'utf8')).split('- alert: ').slice(1)
    expect(new Set(alerts.map((alert) => alert.split('\n')[0])).size).toBe(alerts.length)
    for (const alert of alerts) {
      expect(alert).toMatch(/^Lockstep\w+\n {8}expr: \S/)
      expect(alert).toMatch(/severity: (?:critical|warning) \}/)
      expect(alert).toMatch(/\n {10}summary: ["']/)
      expect(alert).toMatch(/\n {10}description: \S/)
    }
  })
})
