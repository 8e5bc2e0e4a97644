import type { AuthGrant } from '@lockstep/backend'
import { backendCompliance } from '@lockstep/backend/compliance'
import { type TestBed, testBed } from '@lockstep/backend/test-bed'
import { beforeEach, describe, expect, it } from 'vitest'
import { userpassAuth } from './index.ts'
import { isPasswordHash, verifyPassword } from './password.ts'

// scrypt at a low cost, so that tests are quick: the password is "pw".
const quickHash = '$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0$bwIeDqhmHWmYUvKQZt1ZP5gnglllCeur8iHLIHLD+BY'

let bed: TestBed
beforeEach(async () => {
  bed = await testBed(userpassAuth())
})

const user = (name: string, settings: Record<string, unknown> = {}) =>
  bed.write(`users/${name}`, { password_hash: quickHash, ...settings })
const login = async (name: string, password = 'pw', remoteAddress = '127.0.0.1') =>
  (await bed.request('update', `login/${name}`, { password }, { remoteAddress }))?.auth
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error) => error.message,
  )

backendCompliance({
  test: it,
  expect,
  factory: userpassAuth(),
  object: {
    names: ['alice', 'bob', 'carol'],
    path: (name) => `users/${name}`,
    folder: 'users/',
    first: { password_hash: quickHash, token_ttl: '10m' },
    changed: { token_ttl: '20m' },
    view: (data) => data.token_ttl,
  },
})

describe('users', () => {
  it('look like this', async () => {
    await user('Al', { policies: 'p1,P2', token_ttl: '10m', token_bound_cidrs: '127.0.0.1/32' })
    expect(await bed.read('users/AL')).toEqual({
      policies: ['p1', 'p2'],
      token_bound_cidrs: ['127.0.0.1'],
      token_explicit_max_ttl: 0,
      token_max_ttl: 0,
      token_no_default_policy: false,
      token_num_uses: 0,
      token_period: 0,
      token_policies: ['p1', 'p2'],
      token_ttl: 600,
      token_type: 'default',
    })
    expect(JSON.stringify(await bed.read('users/al'))).not.toContain('scrypt')
  })

  it('keep what a write does not mention', async () => {
    await user('al', { token_ttl: '10m', token_policies: 'a' })
    await bed.write('users/al', { token_max_ttl: '1h' })
    expect(await bed.read('users/al')).toMatchObject({ token_ttl: 600, token_max_ttl: 3600, token_policies: ['a'] })
    await bed.write('users/al', { token_policies: '' })
    expect(await bed.read('users/al')).toMatchObject({ token_policies: [] })
  })

  it('show older names only while those set the value', async () => {
    await user('al', { ttl: '10m', max_ttl: '20m', policies: 'z' })
    expect(await bed.read('users/al')).toMatchObject({ ttl: 600, max_ttl: 1200, policies: ['z'], token_ttl: 600 })
    await bed.write('users/al', { token_ttl: '5m' })
    await bed.write('users/al/policies', { token_policies: 'y' })
    const read = await bed.read('users/al')
    expect(read).toMatchObject({ max_ttl: 1200, token_ttl: 300, token_policies: ['y'] })
    expect(read).not.toHaveProperty('ttl')
    expect(read).not.toHaveProperty('policies')
  })

  it.each([
    [{}, 'must provide either password or password_hash'],
    [{ password: 'x', password_hash: quickHash }, 'only one of password or password_hash may be provided'],
    [{ password_hash: 'bad' }, 'password_hash is not a valid scrypt hash in PHC text'],
    [{ password: 'x'.repeat(1025) }, 'password is longer than 1024 bytes'],
    [
      { password_hash: quickHash, token_ttl: '2h', token_max_ttl: '1h' },
      "'token_ttl' cannot be greater than 'token_max_ttl'",
    ],
    [{ password_hash: quickHash, token_num_uses: -1 }, "'token_num_uses' cannot be negative"],
    [{ password_hash: quickHash, token_type: 'bogus' }, 'invalid \'token_type\' value "bogus"'],
    [
      { password_hash: quickHash, token_type: 'batch', token_period: '1h' },
      "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
    ],
    [
      { password_hash: quickHash, token_bound_cidrs: 'bad' },
      'error parsing address "bad": Unable to convert "bad" to an IPv4 or IPv6 address, or a UNIX Socket',
    ],
    [
      { password_hash: quickHash, token_ttl: 'abc' },
      'Field validation failed: error converting input for field "token_ttl": time: invalid duration "abc"',
    ],
  ])('refuse %j', async (settings, message) => {
    expect(await failure(bed.write('users/al', settings))).toBe(message)
  })

  it('have names Vault accepts', async () => {
    for (const name of ['u@x.com', 'a b', '-x', 'x-']) expect(await failure(user(name)), name).toBe('unsupported path')
    await user('a.b-c_1')
    expect(await bed.list('users')).toEqual(['a.b-c_1'])
  })

  it('must exist to get a password or policies', async () => {
    expect(await failure(bed.write('users/none/password', { password_hash: quickHash }))).toBe(
      'username does not exist',
    )
    expect(await failure(bed.write('users/none/policies', { policies: 'a' }))).toBe('username does not exist')
  })
})

describe('login', () => {
  it('grants what the user has', async () => {
    await user('al', { token_policies: 'a,b', token_ttl: '10m', token_max_ttl: '1h', token_type: 'batch' })
    expect(await login('AL')).toEqual({
      displayName: 'al',
      alias: 'al',
      metadata: { username: 'al' },
      policies: ['a', 'b'],
      ttl: 600,
      maxTtl: 3600,
      period: 0,
      explicitMaxTtl: 0,
      numUses: 0,
      renewable: true,
      tokenType: 'batch',
      noDefaultPolicy: false,
      boundCidrs: [],
      internalData: {},
    })
  })

  it('fails alike for wrong passwords and unknown users', async () => {
    await user('al')
    expect(await failure(login('al', 'bad'))).toBe('invalid username or password')
    expect(await failure(login('nobody', 'bad'))).toBe('invalid username or password')
    expect(await failure(login('al', ''))).toBe('missing password')
    expect(await failure(login('al', 'x'.repeat(5000)))).toBe('invalid username or password')
  })

  it('follows a changed password', async () => {
    await user('al')
    await bed.write('users/al/password', { password: 'new' })
    expect(await failure(login('al'))).toBe('invalid username or password')
    expect(await login('al', 'new')).toMatchObject({ alias: 'al' })
  })

  it('only from bound addresses', async () => {
    await user('al', { token_bound_cidrs: '10.0.0.0/8' })
    expect(await failure(login('al'))).toBe('permission denied')
    expect(await login('al', 'pw', '10.1.2.3')).toMatchObject({ boundCidrs: ['10.0.0.0/8'] })
  })

  it('works on a performance secondary', async () => {
    await user('al')
    bed.readOnly.value = true
    expect(await login('al')).toMatchObject({ alias: 'al' })
  })

  it('is open to everybody', () => {
    expect(bed.backend.special).toEqual({ unauthenticated: ['login/*'] })
  })
})

describe('lockout', () => {
  it.each(['al', 'unknown'])('locks %s after five failures for a quarter of an hour', async (name) => {
    await user('al')
    for (let i = 0; i < 5; i++) expect(await failure(login(name, 'bad'))).toBe('invalid username or password')
    expect(await failure(login(name))).toBe('permission denied')
    bed.clock.now += 15 * 60_000
    expect(await failure(login(name))).toBe(name === 'al' ? 'no error' : 'invalid username or password')
  })

  it('forgets failures on success', async () => {
    await user('al')
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) await failure(login('al', 'bad'))
      expect(await login('al')).toBeDefined()
    }
  })

  it('tells concurrent guesses nothing once it is on', async () => {
    await user('al')
    const guesses = await Promise.all(
      Array.from({ length: 12 }, (_, i) => failure(login('al', i === 11 ? 'pw' : 'bad'))),
    )
    expect(guesses.filter((guess) => guess === 'invalid username or password')).toHaveLength(5)
    expect(guesses.filter((guess) => guess === 'permission denied')).toHaveLength(7)
  })
})

describe('renewal', () => {
  const renew = (auth: AuthGrant) => bed.request('renew', 'login/al', {}, { auth })

  it('takes the current durations', async () => {
    await user('al', { token_policies: 'a,default', token_ttl: '10m' })
    const auth = (await login('al'))!
    await bed.write('users/al', { token_ttl: '20m', token_period: '5m' })
    expect((await renew({ ...auth, policies: ['default', 'A'] }))?.auth).toMatchObject({ ttl: 1200, period: 300 })
  })

  it('fails when policies changed or the user is gone', async () => {
    await user('al', { token_policies: 'a' })
    const auth = (await login('al'))!
    await bed.write('users/al', { token_policies: 'b' })
    expect(await failure(renew(auth))).toBe('policies have changed, not renewing')
    await bed.request('delete', 'users/al')
    expect(await failure(renew(auth))).toBe('user "al" does not exist during renewal')
  })
})

describe('passwords', () => {
  it('verify at their own cost', async () => {
    expect(await verifyPassword('pw', quickHash)).toBe(true)
    expect(await verifyPassword('pW', quickHash)).toBe(false)
    expect(await verifyPassword('', undefined)).toBe(false)
  })

  it('are refused at absurd cost', () => {
    expect(isPasswordHash(quickHash)).toBe(true)
    for (const cost of ['ln=25,r=8,p=1', 'ln=17,r=8,p=99', 'ln=1,r=8,p=1', 'ln=17,r=99,p=1']) {
      expect(isPasswordHash(quickHash.replace('ln=10,r=8,p=1', cost)), cost).toBe(false)
    }
  })
})
