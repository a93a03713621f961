import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Home, openHome } from '../../src/apps/upgrade/home.ts'
import { createLauncher } from '../../src/apps/upgrade/launcher.ts'

let root: string
let home: Home
let launcher: ReturnType<typeof createLauncher>
let said: string[]

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keepwatch-launcher-'))
  home = openHome(root)
  said = []
  launcher = createLauncher(
    { home, say: line => said.push(line) },
    { args: [join(root, 'journal')], trialMs: 3000 },
  )
})
afterEach(async () => {
  await launcher.stop()
  rmSync(root, { recursive: true, force: true })
})

/** A version of a program that writes its name into the journal; `$version` is its version. */
function install(version: string, program: string) {
  const folder = home.prepare(version)
  mkdirSync(join(folder, 'src'), { recursive: true })
  mkdirSync(join(folder, 'node_modules/node/bin'), { recursive: true })
  symlinkSync(process.execPath, join(folder, 'node_modules/node/bin/node'))
  writeFileSync(
    join(folder, 'src/main.ts'),
    `import { appendFileSync } from 'node:fs'
     const version = '${version}'
     appendFileSync(process.argv[2]!, version + '\\n')
     process.on('SIGTERM', () => process.exit(0))
     ${program}`,
  )
  home.complete(version)
}

const stays = 'setInterval(() => {}, 1000); process.send({ proven: version })'

const journal = () => {
  try {
    return readFileSync(join(root, 'journal'), 'utf8').trim().split('\n')
  } catch {
    return []
  }
}

async function until(what: () => boolean) {
  const deadline = performance.now() + 30_000
  while (!what()) {
    if (performance.now() > deadline) {
      throw new Error(`not in half a minute: ${what}\n${said.join('\n')}\n${journal().join(' ')}`)
    }
    await sleep(20)
  }
}

describe('the launcher', () => {
  test('starts again what ends by itself', async () => {
    install('1.0.0', 'process.exit(3)')
    home.use('1.0.0')
    await launcher.start()
    await until(() => journal().length >= 2)
    expect(said[0]).toContain('keepwatch 1.0.0 ended (exit code 3)')
  })

  test('changes to the version that is current when the program asks for it', async () => {
    install('1.0.0', 'process.exit(75)')
    install('1.1.0', stays)
    home.use('1.0.0')
    await launcher.start()
    await until(() => journal().length >= 1)
    home.try({ version: '1.1.0', previous: '1.0.0', operation: 'the upgrade' })
    await until(() => home.trial() === undefined)
    expect(home.current()).toBe('1.1.0')
    expect(journal().at(-1)).toBe('1.1.0')
  })

  test.each([
    [
      'ends at once',
      "console.error('cannot read the settings'); process.exit(1)",
      /exit code 1: cannot read the settings/,
    ],
    ['hangs before it does its work', 'setInterval(() => {}, 1000)', /not ready within 3 s/],
  ])('goes back from a version that %s', async (_what, program, reason) => {
    install('1.0.0', stays)
    install('1.1.0', program)
    home.use('1.0.0')
    home.try({ version: '1.1.0', previous: '1.0.0', operation: 'the upgrade' })
    await launcher.start()
    await until(() => journal().includes('1.0.0'))
    expect(journal()).toEqual(['1.1.0', '1.0.0'])
    expect(home.current()).toBe('1.0.0')
    expect(home.trial()).toBeUndefined()
    expect(home.rolledBack()).toMatchObject({ version: '1.1.0', operation: 'the upgrade' })
    expect(home.rolledBack()!.reason).toMatch(reason)
  })

  test('does not take a folder for a version that has no program', () => {
    home.prepare('1.0.0')
    expect(() => home.complete('1.0.0')).toThrow('has no program')
    expect(home.installed()).toEqual([])
  })
})
