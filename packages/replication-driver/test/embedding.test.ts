// What a service that embeds the driver has to say, and no more.
import { pathsFilter } from '@lockstep/paths-filter'
import { memoryStore } from '@lockstep/storage'
import { classRules } from '@lockstep/storage-classes'
import { expect, test } from 'vitest'
import { acceptTagged, filteredView, followPrimary, loggedStore, serveSecondary } from '../src/index.ts'
import { bytes, text } from './fixture.ts'
import { linkPair } from './link-pair.ts'

function rules() {
  const classes = classRules([
    { prefix: 'shared/', class: 'replicated' },
    { prefix: 'local/', class: 'local' },
    { prefix: 'own/', class: 'ignored' },
  ])
  for (const uuid of ['open', 'secret']) {
    classes.registerMount({
      uuid,
      keyPrefix: `logical/${uuid}/`,
      mountPath: `${uuid}/`,
      local: false,
      localStorage: [],
    })
  }
  return classes
}

test('two stores with nothing but the required options replicate all but what the filter withholds', async () => {
  const classes = rules()
  const view = filteredView({
    kind: 'performance',
    mountPathOf: classes.mountPath,
    filter: { mode: 'deny', paths: ['secret/'] },
  })
  const primary = await loggedStore(memoryStore(), { classify: classes.classify })
  const secondary = await loggedStore(memoryStore(), { classify: classes.classify })
  await primary.put('logical/open/a', bytes('1'))
  await primary.put('logical/secret/a', bytes('2'))
  await primary.put('local/a', bytes('3'))

  const [primaryEnd, secondaryEnd] = linkPair()
  const sender = serveSecondary(
    { store: primary, link: primaryEnd, view },
    { kind: 'performance', clusterId: 'set', secondaryId: 'two', consumer: 'two' },
  )
  const follower = followPrimary(
    { store: secondary, dial: async () => secondaryEnd, accept: acceptTagged(rules(), 'performance') },
    { kind: 'performance', secondaryId: 'two', positionKey: 'own/position' },
  )
  expect(await follower.applied(primary.log.head().index, 5000)).toBe(true)
  expect(text(await secondary.get('logical/open/a'))).toBe('1')
  expect(await secondary.list('')).toEqual(['logical/', 'own/'])
  expect(await secondary.list('logical/')).toEqual(['open/'])

  await expect(follower.request('anything', null)).rejects.toMatchObject({ remoteCode: 'unknown-method' })
  await expect(sender.request('anything', null)).rejects.toMatchObject({ remoteCode: 'unknown-method' })

  view.setFilter(undefined)
  sender.viewChanged()
  await expect.poll(() => secondary.list('logical/')).toEqual(['open/', 'secret/'])
  await follower.close()
  sender.close()
})

test('the name of a view changes with the filter, and only with it', () => {
  const view = filteredView({ kind: 'dr', mountPathOf: () => '' })
  const unfiltered = view.id
  view.setFilter({ mode: 'deny', paths: ['a/'] })
  const denied = view.id
  view.setFilter({ mode: 'allow', paths: ['a/'] })
  expect(new Set([unfiltered, denied, view.id]).size).toBe(3)
  view.setFilter(pathsFilter({ mode: 'deny', paths: ['a/'] }))
  expect(view.id).toBe(denied)
  view.setFilter(undefined)
  expect(view.id).toBe(unfiltered)
  expect(filteredView({ kind: 'performance', mountPathOf: () => '' }).id).not.toBe(unfiltered)
})

test('a view ships by class and filter, at the path the mount has', () => {
  const performance = filteredView({ kind: 'performance', mountPathOf: rules().mountPath })
  const dr = filteredView({ kind: 'dr', mountPathOf: rules().mountPath, filter: { mode: 'deny', paths: ['secret/'] } })
  const [replicated, local] = [
    { class: 'replicated', mount: 'open' },
    { class: 'local', mount: 'open' },
  ] as const
  expect([performance.ships(replicated, 'open/'), performance.ships(local, 'open/')]).toEqual([true, false])
  expect([dr.ships(local, 'open/'), dr.ships(local, 'secret/')]).toEqual([true, false])
  expect([dr.mountPathOf('open'), dr.mountPathOf('core'), dr.mountPathOf('unknown')]).toEqual(['open/', '', undefined])
})

test('accepts by key, partition and kind of link', () => {
  const entry = (key: string, storageClass: 'replicated' | 'local', mount: string) => ({
    key,
    partition: { class: storageClass, mount },
    mountPath: '',
    value: undefined,
  })
  const performance = acceptTagged(rules(), 'performance')
  const dr = acceptTagged(rules(), 'dr')
  expect(performance(entry('logical/open/a', 'replicated', 'open'))).toBe(true)
  expect(dr(entry('local/a', 'local', 'core'))).toBe(true)
  for (const refused of [
    performance(entry('local/a', 'local', 'core')),
    performance(entry('logical/secret/a', 'replicated', 'open')),
    dr(entry('own/position', 'local', 'core')),
  ]) {
    expect(refused).toMatch(/was refused/)
  }
})
