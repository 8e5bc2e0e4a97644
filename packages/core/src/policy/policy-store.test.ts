import { parseHcl } from '@lockstep/hcl'
import { memoryStore, type Store } from '@lockstep/storage'
import { describe, expect, it, vi } from 'vitest'
import type { Acl } from '../contracts.ts'
import { policyStore } from './policy-store.ts'

const read = (acl: Acl, path: string) => acl.authorize({ operation: 'read', path, data: {}, wrapTtl: 0 }).allowed
const grant = (path: string) => `path "${path}" { capabilities = ["read"] }`

function opened(storage: Store = memoryStore()) {
  const parse = vi.fn((text: string) => parseHcl(text))
  return { storage, parse, policies: policyStore({ storage, parseHcl: parse }) }
}

describe('policyStore', () => {
  it('stores, shows, lists and deletes, names in lower case', async () => {
    const { policies } = opened()
    await policies.loadDefaults()
    await policies.set('Team', grant('x'))
    expect(await policies.get('TEAM')).toEqual({ name: 'team', policy: grant('x') })
    expect(await policies.list()).toEqual(['default', 'team', 'root'])
    await policies.delete('team')
    expect(await policies.get('team')).toBeUndefined()
    expect(await policies.get('root')).toEqual({ name: 'root', policy: '' })
    expect((await policies.get('response-wrapping'))?.policy).toContain('cubbyhole/response')
  })

  it('refuses what Vault refuses, with its words', async () => {
    const { policies } = opened()
    const refusal = (work: Promise<unknown>) =>
      work.then(
        () => 'done',
        (error) => `${error.code} ${error.message}`,
      )
    expect(await refusal(policies.set('x', 'path "x" {capabilities=["foo"]}'))).toBe(
      'CORE_INVALID_REQUEST failed to parse policy: path "x": invalid capability "foo"',
    )
    expect(await refusal(policies.set('x', 'path "x" {'))).toMatch(/^CORE_INVALID_REQUEST failed to parse policy: /)
    expect(await refusal(policies.set('root', grant('x')))).toBe('CORE_INVALID_REQUEST cannot update "root" policy')
    expect(await refusal(policies.delete('root'))).toBe('CORE_INVALID_REQUEST cannot delete "root" policy')
    expect(await refusal(policies.delete('default'))).toBe('CORE_INVALID_REQUEST cannot delete default policy')
    expect(await refusal(policies.delete('response-wrapping'))).toBe(
      'CORE_INVALID_REQUEST cannot delete "response-wrapping" policy',
    )
  })

  it('accepts the text in base64', async () => {
    const { policies } = opened()
    await policies.set('x', Buffer.from(grant('x')).toString('base64'))
    expect((await policies.get('x'))?.policy).toBe(grant('x'))
  })

  it('needs the parser for writing only', async () => {
    const { storage, policies } = opened()
    await policies.set('x', grant('x'))
    const again = opened(storage)
    expect(read(await again.policies.acl(['x']), 'x')).toBe(true)
    expect(again.parse).not.toHaveBeenCalled()
  })

  it('answers at once when it knows the set, and forgets sets whose policy changed', async () => {
    const { policies, storage } = opened()
    await policies.set('a', grant('a'))
    const set = ['a', 'b']
    const first = await policies.acl(set)
    expect(policies.acl(set)).toBe(first)
    expect(policies.acl(['a', 'b'])).toBe(first)
    await policies.set('b', grant('b'))
    expect(read(await policies.acl(set), 'b')).toBe(true)
    await policies.delete('a')
    expect(read(await policies.acl(set), 'a')).toBe(false)

    const elsewhere = opened(storage).policies
    await elsewhere.set('b', grant('changed'))
    policies.invalidate('b')
    expect(read(await policies.acl(set), 'b')).toBe(false)
    expect(read(await policies.acl(set), 'changed')).toBe(true)
  })

  it('does not cache what it read before a change', async () => {
    const inner = memoryStore()
    let hold = Promise.resolve()
    const get: Store['get'] = async (key) => {
      const value = await inner.get(key)
      await hold
      return value
    }
    const slow = { get, put: inner.put.bind(inner) } as Store
    const { policies } = opened(slow)
    await policies.set('a', grant('old'))
    let release = () => {}
    hold = new Promise((resolve) => {
      release = resolve
    })
    const early = policies.acl(['a'])
    await new Promise((resolve) => setImmediate(resolve))
    await policies.set('a', grant('new'))
    release()
    await early
    expect(read(await policies.acl(['a']), 'new')).toBe(true)
    expect(read(await policies.acl(['a']), 'old')).toBe(false)
  })

  it('keeps names apart that look alike when joined', async () => {
    const { policies } = opened()
    await policies.set('a', grant('a'))
    await policies.set('b', grant('b'))
    await policies.acl(['a', 'b'])
    for (const name of ['a\nb', 'a,b', 'a","b']) expect(read(await policies.acl([name]), 'a')).toBe(false)
  })

  it('knows root, alone', async () => {
    const { policies } = opened()
    expect((await policies.acl(['root'])).root).toBe(true)
    expect(() => policies.acl(['root', 'x'])).toThrow('permission denied')
  })

  it('grants by default what section 5 of the reference lists', async () => {
    const { policies } = opened()
    await policies.loadDefaults()
    const acl = await policies.acl(['default'])
    for (const [path, capabilities] of Object.entries({
      'auth/token/lookup-self': ['read'],
      'auth/token/renew-self': ['update'],
      'auth/token/revoke-self': ['update'],
      'sys/capabilities-self': ['update'],
      'sys/internal/ui/resultant-acl': ['read'],
      'sys/leases/renew': ['update'],
      'sys/leases/lookup': ['update'],
      'cubbyhole/x/y': ['create', 'delete', 'list', 'read', 'update'],
      'sys/wrapping/wrap': ['update'],
      'sys/wrapping/lookup': ['update'],
      'sys/wrapping/unwrap': ['update'],
      'sys/tools/hash': ['update'],
      'sys/tools/hash/sha2-256': ['update'],
      'identity/oidc/provider/x/authorize': ['read', 'update'],
      'identity/entity/id/e1': ['deny'],
      'auth/token/create': ['deny'],
      'secret/x': ['deny'],
    })) {
      expect([path, acl.capabilities(path)]).toEqual([path, capabilities])
    }
    const resolve = (expression: string) => (expression === 'identity.entity.id' ? 'e1' : undefined)
    const identity = { key: 'e1', resolve }
    const own = await policies.acl(['default'], identity)
    expect(own.capabilities('identity/entity/id/e1')).toEqual(['read'])
    expect(policies.acl(['default'], identity)).toBe(own)
    await policies.set('default', grant('x'))
    expect(read(await policies.acl(['default'], identity), 'identity/entity/id/e1')).toBe(false)
  })

  it('lets response-wrapping do two things only', async () => {
    const acl = await opened().policies.acl(['response-wrapping'])
    expect(acl.capabilities('cubbyhole/response')).toEqual(['create', 'read'])
    expect(acl.capabilities('sys/wrapping/unwrap')).toEqual(['update'])
    expect(acl.capabilities('sys/wrapping/lookup')).toEqual(['deny'])
  })
})
