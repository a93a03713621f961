import { readFileSync } from 'node:fs'

const manifest = new URL('../../package.json', import.meta.url)

/** The version of the package that this is. */
export const version: string = JSON.parse(readFileSync(manifest, 'utf8')).version

/**
 * Why two versions of the program cannot be a pair, not even while one is being upgraded; undefined
 * if they can: the same release, or one that follows the other (`0.3.x` and `0.4.x`).
 */
export function obstacleBetween(one: string, other: string): string | undefined {
  const [major, minor] = numbersOf(one)
  const [otherMajor, otherMinor] = numbersOf(other)
  if (major === undefined || otherMajor === undefined) {
    return `${major === undefined ? one : other} is no version that it understands`
  }
  if (major === otherMajor && Math.abs(minor! - otherMinor!) <= 1) return undefined
  return (
    `version ${one} works with the releases before and after its own, and ${other} is neither: ` +
    'upgrade from one release to the next'
  )
}

function numbersOf(version: string): number[] {
  return /^(\d+)\.(\d+)\.\d+/.exec(version)?.slice(1).map(Number) ?? []
}
