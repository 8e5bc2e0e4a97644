import { expect, test, vi } from 'vitest'
import { CoreError, type CoreRequest, type CoreResponse } from '../contracts.ts'
import { requestGate } from './request-gate.ts'
import type { Services } from './services.ts'

const request = { id: '1' } as CoreRequest
const authenticates = async (): Promise<boolean> => false
const answering = (status: number): Services => ({
  handle: async () => ({ status }),
  authenticates,
  stop: async () => {},
})
const changing = new CoreError('CORE_UNAVAILABLE', 'changing')

test('a shut gate refuses with its reason', async () => {
  const gate = requestGate()
  await expect(gate.handle(request)).rejects.toMatchObject({ code: 'CORE_SEALED' })
  gate.open(answering(200))
  expect(await gate.handle(request)).toEqual({ status: 200 })
  await gate.close(changing)
  await expect(gate.handle(request)).rejects.toBe(changing)
})

test('a held request goes to the services that come next', async () => {
  const gate = requestGate()
  gate.open(answering(200))
  await gate.close(changing, { hold: true })
  const held = gate.handle(request)
  gate.open(answering(204))
  expect(await held).toEqual({ status: 204 })
})

test('a held request is refused when the gate closes for good, or nothing comes for ten seconds', async () => {
  vi.useFakeTimers()
  try {
    const gate = requestGate()
    await gate.close(changing, { hold: true })
    const sealed = new CoreError('CORE_SEALED', 'Vault is sealed')
    const first = expect(gate.handle(request)).rejects.toBe(sealed)
    await gate.close(sealed)
    await first
    await gate.close(changing, { hold: true })
    const second = expect(gate.handle(request)).rejects.toBe(changing)
    await vi.advanceTimersByTimeAsync(10_000)
    await second
  } finally {
    vi.useRealTimers()
  }
})

test('closing waits for what is under way', async () => {
  const gate = requestGate()
  let finish: (response: CoreResponse) => void = () => {}
  gate.open({
    handle: () =>
      new Promise((resolve) => {
        finish = resolve
      }),
    authenticates,
    stop: async () => {},
  })
  const answer = gate.handle(request)
  await Promise.resolve()
  let closed = false
  const closing = gate.close(changing).then(() => {
    closed = true
  })
  await Promise.resolve()
  expect(closed).toBe(false)
  finish({ status: 200 })
  await closing
  expect(await answer).toEqual({ status: 200 })
})
