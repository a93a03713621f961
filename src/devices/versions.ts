import { createHash } from 'node:crypto'
import { diffLines } from './diff.ts'
import type { Driver } from './drivers/driver.ts'

/** A configuration ready to be kept. */
export interface Normalised {
  /** What is stored: complete, secrets included, without what says nothing about the device. */
  content: string
  /** SHA-256 over the lines that are compared, hexadecimal. */
  hash: string
  /** Who changed it last and when, in the device's own words, if it says so. */
  author: string | undefined
  changedAt: string | undefined
}

/** Brings what a device answered into the form in which versions are kept and compared. */
export function normalise(driver: Driver, text: string): Normalised {
  const { drop, lift } = driver.normalise
  const lines = text.split('\n').filter(line => !drop.some(pattern => pattern.test(line)))
  while (lines.length > 0 && lines[0]!.trim() === '') lines.shift()
  while (lines.length > 0 && lines.at(-1)!.trim() === '') lines.pop()
  const content = `${lines.join('\n')}\n`
  const said = lift.map(pattern => firstMatch(pattern, lines)).find(found => found !== undefined)
  return {
    content,
    hash: createHash('sha256').update(comparedText(driver, content)).digest('hex'),
    author: said?.user,
    changedAt: said?.at,
  }
}

/** The stored text without the lines that make no new version: what two versions are compared by. */
export function comparedText(driver: Driver, content: string): string {
  const { ignore } = driver.normalise
  if (ignore.length === 0) return content
  return content
    .split('\n')
    .filter(line => !ignore.some(pattern => pattern.test(line)))
    .join('\n')
}

/** How a text differs from the version before; undefined if it is the same version. */
export function difference(
  driver: Driver,
  before: { hash: string; content: string } | undefined,
  now: Normalised,
): { added: number; removed: number } | undefined {
  if (before?.hash === now.hash) return undefined
  const old = before === undefined ? '' : comparedText(driver, before.content)
  const { added, removed } = diffLines(old, comparedText(driver, now.content))
  return { added, removed }
}

function firstMatch(pattern: RegExp, lines: readonly string[]) {
  for (const line of lines) {
    const groups = pattern.exec(line)?.groups
    if (groups) return groups
  }
  return undefined
}
