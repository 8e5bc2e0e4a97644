import { parseHcl } from '@lockstep/hcl'
import { describe, expect, it } from 'vitest'
import { policyRules } from './policy-parser.ts'

const parse = async (text: string) => policyRules(await parseHcl(text), text)
const failure = (text: string) =>
  parse(text).then(
    () => 'accepted',
    (error: Error) => error.message,
  )

describe('policyRules', () => {
  // Texts as OpenBao 2.6.2 gives them, without the leading `failed to parse policy: `.
  it.each([
    ['path "x" {capabilities=["foo"]}', 'path "x": invalid capability "foo"'],
    ['path "x" {capabilities=["read","foo"]}', 'path "x": invalid capability "foo"'],
    ['path "x" {capabilities=["Read"]}', 'path "x": invalid capability "Read"'],
    ['path "x" {capabilities=[1]}', 'path "x": invalid capability "1"'],
    ['path "x" {policy="foo"}', 'path "x": invalid policy "foo"'],
    [
      'path "x" {bogus="foo" capabilities=["read"]}',
      '1 error occurred:\n\t* path "x": invalid key "bogus" on line 1\n\n',
    ],
    [
      'path "x" {\n  capabilities=["read"]\n  bogus="foo"\n  zog = 1\n}',
      '2 errors occurred:\n\t* path "x": invalid key "bogus" on line 3\n\t* path "x": invalid key "zog" on line 4\n\n',
    ],
    ['bogus "x" {capabilities=["read"]}', '1 error occurred:\n\t* invalid key "bogus" on line 0\n\n'],
    ['\nexpiration="a"', '1 error occurred:\n\t* invalid key "expiration" on line 2\n\n'],
    ['path "x+*" {capabilities=["read"]}', 'path "x+*": invalid use of wildcards (\'+*\' is forbidden)'],
    ['path "a/+/+*" {capabilities=["read"]}', 'path "a/+/+*": invalid use of wildcards (\'+*\' is forbidden)'],
    [
      'path "x" {capabilities=["read"] min_wrapping_ttl="zz"}',
      'error parsing min_wrapping_ttl: time: invalid duration "zz"',
    ],
    [
      'path "x" {capabilities=["read"] min_wrapping_ttl="5m" max_wrapping_ttl="1m"}',
      'max_wrapping_ttl cannot be less than min_wrapping_ttl',
    ],
    [
      'path "x{{identity.entity.name" {capabilities=["read"]}',
      'failed to validate policy templating: unbalanced templating characters',
    ],
    ['path "x" {capabilities=["read"]} path "y" {capabilities=["foo"]}', 'path "y": invalid capability "foo"'],
    ['{"path":{"x":{"capabilities":["foo"]}}}', 'path "x": invalid capability "foo"'],
    ['path "x" {capabilities="read"}', 'path "x": expected a list, got string'],
    ['path "x" {capabilities=["read"] mfa_methods=["a"]}', expect.stringContaining('invalid key "mfa_methods"')],
    ['path "x" {capabilities=["read"] control_group={ttl="1h"}}', expect.stringContaining('"control_group" on line 1')],
  ])('refuses %s', async (text, message) => {
    expect(await failure(text)).toEqual(message)
  })

  it.each([
    ['path "x" {}', [{ path: 'x', capabilities: [] }]],
    ['name="hi"\npath "x" {capabilities=["read"]}', [{ path: 'x', capabilities: ['read'] }]],
    ['path "/a/b" {capabilities=["read"]}', [{ path: 'a/b', capabilities: ['read'] }]],
    ['path "a/+b" {capabilities=["list"]}', [{ path: 'a/+b', capabilities: ['list'] }]],
    ['path "x" {capabilities=["deny","read"]}', [{ path: 'x', capabilities: ['deny'] }]],
    [
      'path "x" {policy="write" capabilities=["sudo"]}',
      [{ path: 'x', capabilities: ['sudo', 'create', 'read', 'update', 'delete', 'list'] }],
    ],
    ['path "x" {policy="read"}', [{ path: 'x', capabilities: ['read', 'list'] }]],
    ['path "x" {policy="deny"}', [{ path: 'x', capabilities: ['deny'] }]],
    ['{"path":{"x":{"capabilities":["read"]}}}', [{ path: 'x', capabilities: ['read'] }]],
    ['{"path":[{"x":{"capabilities":["read"]}}]}', [{ path: 'x', capabilities: ['read'] }]],
    [
      'path "x" {capabilities=["list"]}\npath "x" {capabilities=["read"]}',
      [
        { path: 'x', capabilities: ['list'] },
        { path: 'x', capabilities: ['read'] },
      ],
    ],
    [
      'path "x" {capabilities=["read"] min_wrapping_ttl=60 max_wrapping_ttl="5m"}',
      [{ path: 'x', capabilities: ['read'], minWrapTtl: 60, maxWrapTtl: 300 }],
    ],
    [
      'path "x" {capabilities=["update"] allowed_parameters={A=["b", 1] "*"=[]} denied_parameters={q=[]} required_parameters=["r"]}',
      [
        {
          path: 'x',
          capabilities: ['update'],
          allowed: [
            ['*', []],
            ['a', ['b', 1]],
          ],
          denied: [['q', []]],
          required: ['r'],
        },
      ],
    ],
    ['', []],
    ['{}', []],
  ])('reads %s', async (text, rules) => {
    expect(await parse(text)).toEqual(rules)
  })
})
