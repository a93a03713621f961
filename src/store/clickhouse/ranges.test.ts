import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRanges } from './ranges.ts'

test('ranges hold what a set holds, whatever the order', () => {
  const range = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 5 }))
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), added => {
      const ranges = createRanges()
      const set = new Set<number>()
      for (const [first, more] of added) {
        ranges.add(first, first + more)
        for (let member = first; member <= first + more; member++) set.add(member)
      }
      let contiguous = 0
      while (set.has(contiguous + 1)) contiguous++
      expect(ranges.contiguous()).toBe(contiguous)
      for (let member = 0; member < 70; member++) expect(ranges.has(member)).toBe(set.has(member))
      const beyond = [...set].filter(member => member > contiguous).sort((a, b) => a - b)
      expect(ranges.beyond(7)).toEqual(beyond.slice(0, 7))
      const gaps = beyond.filter(member => !set.has(member - 1)).length
      expect(ranges.size).toBe(gaps + (contiguous > 0 ? 1 : 0))
    }),
  )
})
