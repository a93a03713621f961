import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRanges, without } from './ranges.ts'

test('ranges hold what a set holds, whatever the order, in as few ranges as there can be', () => {
  const range = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 5 }))
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), added => {
      const ranges = createRanges()
      const set = new Set<number>()
      for (const [first, more] of added) {
        ranges.add(first, first + more)
        for (let member = first; member <= first + more; member++) set.add(member)
      }
      for (let member = 0; member < 70; member++) expect(ranges.has(member)).toBe(set.has(member))
      const least: [number, number][] = []
      for (const member of [...set].sort((a, b) => a - b)) {
        const last = least.at(-1)
        if (last?.[1] === member - 1) last[1] = member
        else least.push([member, member])
      }
      expect(ranges.list(100)).toEqual(least)
      expect(ranges.list(2)).toEqual(least.slice(-2))
    }),
  )
})

test('what is in some ranges and not in others is what a set says', () => {
  const range = fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 5 }))
  const some = fc.array(range, { maxLength: 20 }).map(added => {
    const ranges = createRanges()
    for (const [first, more] of added) ranges.add(first, first + more)
    return ranges
  })
  fc.assert(
    fc.property(some, some, (here, there) => {
      const left = createRanges()
      for (const [first, last] of without(here.list(100), there.list(100))) left.add(first, last)
      for (let member = 0; member < 70; member++) {
        expect(left.has(member)).toBe(here.has(member) && !there.has(member))
      }
    }),
  )
})
