import { LinkError } from '@lockstep/replication-driver'
import { expect, test } from 'vitest'
import { CoreError } from '../../contracts.ts'
import { dialable } from '../resolver/address-book.ts'
import { forwardError } from './forward-error.ts'

test.each(['CORE_INVALID_REQUEST', 'CORE_PERMISSION_DENIED', 'CORE_NOT_FOUND', 'CORE_INTERNAL'])(
  "the primary's answer %s is the client's",
  (code) => {
    expect(forwardError(new LinkError('REPLICATION_REMOTE', 'as said', code))).toMatchObject({
      code,
      message: 'as said',
    })
  },
)

test.each([
  new LinkError('REPLICATION_DISCONNECTED', 'there is no link to the primary'),
  new LinkError('REPLICATION_TIMEOUT', 'no answer'),
  new LinkError('REPLICATION_REMOTE', 'Vault is sealed', 'CORE_SEALED'),
  new LinkError('REPLICATION_REMOTE', 'odd', 'made up'),
])("the primary's own trouble is 503 and told as such: %s", (error) => {
  const told = forwardError(error)
  expect(told.code).toBe('CORE_UNAVAILABLE')
  expect(told.message).toBe(
    `errors from both primary and secondary; primary error was ${error.message}; secondary errors follow: cannot write to readonly storage`,
  )
})

test('an error made here stays as it is', () => {
  const own = new CoreError('CORE_INVALID_REQUEST', 'not a secondary')
  expect(forwardError(own)).toBe(own)
})

test('addresses that cannot be dialled are left out, each is dialled once, and there is an end to them', () => {
  expect(dialable(['a:1', 'https://b:2', 'a:1', '', 'no port:x', 'c:99999999'])).toEqual(['a:1', 'https://b:2'])
  expect(dialable(Array.from({ length: 1000 }, (_, n) => `node-${n}:8201`))).toHaveLength(64)
})
