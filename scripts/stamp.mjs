/** Remembers that work was done for certain files, so that it need not be done again for the very same. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/**
 * @param inputs files and folders, from the root
 * @param file the stamp, from the root
 * @param counts whether a file's content matters
 */
export function createStamp(inputs, file, counts = () => true) {
  const hash = createHash('sha256')
  for (const input of inputs) add(join(root, input))
  const wanted = hash.digest('hex')
  const stamp = join(root, file)

  function add(path) {
    if (!existsSync(path)) return
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) add(join(path, name))
    } else if (counts(path)) {
      hash.update(path.slice(root.length)).update(readFileSync(path))
    }
  }

  return {
    isThere: () => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted,
    put() {
      mkdirSync(dirname(stamp), { recursive: true })
      writeFileSync(stamp, wanted)
    },
  }
}

/** That the unit tests have passed, with everything that they read. */
export const unitTestsPassed = () =>
  createStamp(
    [
      ...['.ci', 'CHANGELOG.md', 'README.md', 'bin', 'biome.json', 'docs', 'knip.json', 'scripts'],
      ...['package-lock.json', 'package.json', 'src', 'test', 'tsconfig.json', 'vitest.config.ts'],
      ...['web/index.html', 'web/src', 'web/tsconfig.json', 'web/vite.config.ts'],
    ],
    join('node_modules', '.cache', 'unit-tests-passed'),
  )
