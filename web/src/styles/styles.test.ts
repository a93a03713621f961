import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const web = join(import.meta.dirname, '..')

test('every component of the library that is used has its styles', () => {
  const sources = globSync('**/*.tsx', { cwd: web }).map(name =>
    readFileSync(join(web, name), 'utf8'),
  )
  const used = sources.flatMap(source =>
    [...source.matchAll(/import \{([^}]*)\} from '@mantine\/core'/g)].flatMap(([, names]) =>
      names!.split(',').map(name => name.replace(/^\s*(type )?/, '').trim()),
    ),
  )
  const styles = readFileSync(join(web, 'styles/index.css'), 'utf8')
  const folder = join(web, '../../node_modules/@mantine/core/styles')
  const bare = [...new Set(used)].filter(
    name => existsSync(join(folder, `${name}.css`)) && !styles.includes(`/${name}.css"`),
  )
  expect(used).toContain('Progress')
  expect(bare).toEqual([])
})
