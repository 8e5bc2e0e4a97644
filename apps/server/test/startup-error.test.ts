import { TransportError } from '@lockstep/replication-transport'
import { expect, test } from 'vitest'
import { reasonOf } from '../src/startup-error.ts'

test("a package's error gives way to the system's known reason below it", () => {
  const taken = Object.assign(new Error('listen EADDRINUSE 127.0.0.1:1'), { code: 'EADDRINUSE' })
  const error = new TransportError('TRANSPORT_INVALID', 'cannot listen on 127.0.0.1:1', { cause: taken })
  expect(reasonOf(error)).toBe('address already in use')
  expect(reasonOf(new Error('first line\nsecond', { cause: new Error('unknown') }))).toBe('first line')
  expect(reasonOf(taken)).toBe('address already in use')
})
