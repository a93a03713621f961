import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Diff, diffLines } from './diff.ts'

/** The new text as the old one and the hunks tell it. */
function apply(before: string, diff: Diff): string {
  const old = before === '' ? [] : before.split('\n')
  const lines: string[] = []
  let next = 1
  for (const hunk of diff.hunks) {
    lines.push(...old.slice(next - 1, hunk.oldStart - 1))
    expect(hunk.newStart).toBe(lines.length + 1)
    next = hunk.oldStart
    for (const { kind, text } of hunk.lines) {
      if (kind !== 'added') expect(old[next++ - 1]).toBe(text)
      if (kind !== 'removed') lines.push(text)
    }
  }
  return [...lines, ...old.slice(next - 1)].join('\n')
}

/** The length of the longest common subsequence by the textbook's table. */
function common(a: string[], b: string[]): number {
  let row = new Array<number>(b.length + 1).fill(0)
  for (const line of a) {
    const above = row
    row = [0]
    for (let j = 0; j < b.length; j++) {
      row.push(line === b[j] ? above[j]! + 1 : Math.max(above[j + 1]!, row[j]!))
    }
  }
  return row.at(-1)!
}

const lines = fc.array(fc.constantFrom('a', 'b', 'c', '!', ' exit'), { maxLength: 40 })

describe('a diff', () => {
  test('rebuilds the new text from the old one', () => {
    fc.assert(
      fc.property(lines, lines, fc.nat(4), (a, b, context) => {
        const [before, after] = [a.join('\n'), b.join('\n')]
        fc.pre(!before.endsWith('\n') && !after.endsWith('\n') && before !== after)
        expect(apply(before, diffLines(before, after, context))).toBe(after)
      }),
      { numRuns: 500 },
    )
  })

  test('of texts that are alike is as short as can be', () => {
    fc.assert(
      fc.property(lines, lines, (a, b) => {
        const [before, after] = [`${a.join('\n')}\n`, `${b.join('\n')}\n`]
        fc.pre(a.length > 0 && b.length > 0)
        const { added, removed } = diffLines(before, after)
        expect(removed).toBe(a.length - common(a, b))
        expect(added).toBe(b.length - common(a, b))
      }),
      { numRuns: 500 },
    )
  })

  test('shows three lines around a change and joins changes that are near', () => {
    const before = Array.from({ length: 30 }, (_, i) => `line ${i + 1}`)
    const after = before.with(9, 'changed').toSpliced(14, 1)
    const { hunks, added, removed } = diffLines(before.join('\n'), after.join('\n'))
    expect({ added, removed }).toEqual({ added: 1, removed: 2 })
    expect(hunks).toHaveLength(1)
    expect(hunks[0]).toMatchObject({ oldStart: 7, newStart: 7 })
    expect(hunks[0]!.lines.map(line => line.kind).join(' ')).toBe(
      'same same same removed added same same same same removed same same same',
    )
  })

  test('of equal texts, and of a final line end, is empty', () => {
    expect(diffLines('a\nb\n', 'a\nb').hunks).toEqual([])
    expect(diffLines('', '').hunks).toEqual([])
    expect(diffLines('', 'a\n')).toMatchObject({ added: 1, removed: 0 })
  })

  test.each([
    ['a few lines changed', (line: number) => (line % 9000 === 0 ? `new ${line}` : `line ${line}`)],
    ['every line changed', (line: number) => `new ${line}`],
    ['every line moved', (line: number) => `line ${(line * 7919) % 100_000}`],
    ['all alike', (line: number) => (line % 3 === 0 ? '!' : line % 7 === 0 ? ' exit' : '!')],
  ])('of 100,000 lines with %s takes seconds at most', { timeout: 20_000 }, (_name, text) => {
    const before = Array.from({ length: 100_000 }, (_, i) => `line ${i}`).join('\n')
    const after = Array.from({ length: 100_000 }, (_, i) => text(i)).join('\n')
    const started = performance.now()
    const diff = diffLines(before, after)
    expect(performance.now() - started).toBeLessThan(10_000)
    expect(apply(before, diff) === after).toBe(true)
  })

  test('of two long texts of few different lines takes seconds at most', {
    timeout: 20_000,
  }, () => {
    const text = (seed: number) =>
      Array.from({ length: 60_000 }, (_, i) => String(Math.imul(i + seed, 2654435761) >>> 29)).join(
        '\n',
      )
    const started = performance.now()
    const [before, after] = [text(1), text(77_777)]
    const diff = diffLines(before, after)
    expect(performance.now() - started).toBeLessThan(10_000)
    expect(apply(before, diff) === after).toBe(true)
  })
})
