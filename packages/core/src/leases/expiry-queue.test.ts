import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { expiryQueue } from './expiry-queue.ts'

const command = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), id: fc.nat(30), at: fc.nat(100) }),
  fc.record({ kind: fc.constant('remove' as const), id: fc.nat(30), at: fc.constant(0) }),
  fc.record({ kind: fc.constant('take' as const), id: fc.constant(0), at: fc.nat(100) }),
)

describe('expiryQueue', () => {
  it('behaves like a sorted map', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const queue = expiryQueue(1000)
        const model = new Map<string, number>()
        for (const { kind, id, at } of commands) {
          if (kind === 'set') {
            queue.set(`${id}`, at)
            model.set(`${id}`, at)
          } else if (kind === 'remove') {
            queue.remove(`${id}`)
            model.delete(`${id}`)
          } else {
            const least = Math.min(...model.values())
            const taken = queue.take(at)
            if (least > at) expect(taken).toBeUndefined()
            else {
              expect(model.get(taken!)).toBe(least)
              model.delete(taken!)
            }
          }
          expect(queue.size).toBe(model.size)
          expect(queue.next()).toBe(Math.min(...model.values()))
        }
      }),
    )
  })

  it('never lets go of an id that is due before the horizon', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(200), fc.nat(1000)), { maxLength: 300 }), (sets) => {
        const queue = expiryQueue(20)
        const model = new Map<string, number>()
        for (const [id, at] of sets) {
          queue.set(`${id}`, at)
          model.set(`${id}`, at)
          expect(queue.size).toBeLessThanOrEqual(20)
        }
        const due = [...model].filter(([, at]) => at < queue.horizon).map(([id]) => id)
        const taken: string[] = []
        for (let id = queue.take(1000); id !== undefined; id = queue.take(1000)) taken.push(id)
        expect(taken).toEqual(expect.arrayContaining(due))
        for (const id of taken) expect(model.get(id)).toBeLessThanOrEqual(queue.horizon)
      }),
    )
  })
})
