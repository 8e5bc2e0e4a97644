import { expect, test } from 'vitest'
import { calls, MAX_CALLS } from './calls.ts'

const request = (id: number) => ({ type: 'request', id, method: 'm', body: null }) as const

test('a call and its answer', () => {
  const [one, two] = [calls(), calls()]
  expect(one.event(request(5))).toEqual([{ type: 'send', message: request(5) }])
  expect(two.message(request(5))).toEqual([{ type: 'call', id: 5, method: 'm', body: null }])
  const answered = two.event({ type: 'answer', id: 5, body: 'b', error: null })
  const response = { type: 'response', id: 5, body: 'b', error: null } as const
  expect(answered).toEqual([{ type: 'send', message: response }])
  expect(one.message(response)).toEqual([{ type: 'result', id: 5, body: 'b', error: null }])
  expect(one.message(response)).toEqual([])
  expect(two.event({ type: 'answer', id: 5, body: 'again', error: null })).toEqual([])
})

test('both directions are bounded', () => {
  const [one, two] = [calls(), calls()]
  for (let id = 0; id < MAX_CALLS; id++) {
    one.event(request(id))
    two.message(request(id))
  }
  expect(one.event(request(MAX_CALLS))).toMatchObject([{ type: 'result', error: { code: 'busy' } }])
  expect(two.message(request(MAX_CALLS))).toMatchObject([{ type: 'send', message: { error: { code: 'busy' } } }])
  one.event({ type: 'forget', id: 0 })
  expect(one.event(request(MAX_CALLS))).toMatchObject([{ type: 'send' }])
})

test('calls end with the link', () => {
  const one = calls()
  one.event(request(1))
  expect(one.closed()).toMatchObject([{ type: 'result', id: 1, error: { code: 'disconnected' } }])
  expect(one.closed()).toEqual([])
  expect(one.event(request(2))).toMatchObject([{ type: 'result', id: 2, error: { code: 'disconnected' } }])
})
