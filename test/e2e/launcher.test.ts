import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Home, openHome } from '../../src/apps/upgrade/home.ts'
import { createLauncher } from '../../src/apps/upgrade/launcher.ts'

const source = join(import.meta.dirname, '../../src/apps/upgrade')
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

/** A version of a program that writes its name into the journal; `version` is its version. */
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

/** A launcher in a process of its own. */
const launcherProgram = `
  const root = process.argv[1]
  const { openHome } = await import('${join(source, 'home.ts')}')
  const { createLauncher } = await import('${join(source, 'launcher.ts')}')
  const say = line => process.stderr.write(line)
  await createLauncher({ home: openHome(root), say }, { args: [root + '/journal'], trialMs: 3000 }).start()
`

const stays = `setInterval(() => {}, 1000)
 process.on('disconnect', () => setTimeout(() => process.exit(0), 500))
 process.send({ proven: version })`

const journal = () => {
  try {
    return readFileSync(join(root, 'journal'), 'utf8').split('\n').slice(0, -1)
  } catch {
    return []
  }
}

/** One that has ended and that nobody has collected yet has no command line. */
function runs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''
  } catch {
    return false
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
    home.settle('1.0.0')
    await launcher.start()
    await until(() => journal().length >= 1)
    home.try({ version: '1.1.0', previous: '1.0.0', operation: 'the upgrade' })
    await until(() => home.trial() === undefined)
    expect(home.current()).toBe('1.1.0')
    expect(journal().at(-1)).toBe('1.1.0')
    expect([home.proven(), home.previous()]).toEqual(['1.1.0', '1.0.0'])
  })

  test('starts a version on trial once more that was killed, and goes back when it is killed again', async () => {
    install('1.0.0', stays)
    install('1.1.0', 'setInterval(() => {}, 1000)')
    home.settle('1.0.0')
    home.try({ version: '1.1.0', previous: '1.0.0', operation: 'the upgrade' })
    await launcher.start()
    for (const starts of [1, 2]) {
      await until(() => journal().length === starts)
      process.kill(home.running()!.pid, 'SIGKILL')
    }
    await until(() => journal().length === 3)
    expect(journal()).toEqual(['1.1.0', '1.1.0', '1.0.0'])
    expect(home.rolledBack()!.reason).toBe('SIGKILL')
  }, 60_000)

  test('goes back from a version on trial that is not there', async () => {
    install('1.0.0', stays)
    install('1.1.0', stays)
    home.use('1.0.0')
    home.try({ version: '1.1.0', previous: '1.0.0', operation: 'the upgrade' })
    rmSync(home.folderOf('1.1.0'), { recursive: true })
    await launcher.start()
    await until(() => journal().length === 1)
    expect(journal()).toEqual(['1.0.0'])
    expect(home.rolledBack()!.reason).toContain('version 1.1.0 has no')
  })

  test('waits for what a killed launcher had started, and does not run beside a living one', async () => {
    install('1.0.0', stays)
    home.use('1.0.0')
    const other = spawn(process.execPath, ['-e', launcherProgram, root], { stdio: 'inherit' })
    await until(() => journal().length === 1)
    await launcher.start()
    await expect(launcher.ended).rejects.toThrow(`the launcher ${other.pid} runs ${root} already`)
    const { pid } = home.running()!
    other.kill('SIGKILL')
    const again = createLauncher(
      { home, say: line => said.push(line) },
      { args: [join(root, 'journal')], trialMs: 3000 },
    )
    await again.start()
    try {
      await until(() => journal().length === 2)
      expect(said.join('\n')).toContain(`waiting for process ${pid}`)
      expect(runs(pid), 'the former is gone before the next begins').toBe(false)
    } finally {
      await again.stop()
    }
  }, 60_000)

  test.each([
    [
      'ends at once',
      `console.error('cannot read the settings')
       console.error(JSON.stringify({ level: 'info', msg: 'stops' })); process.exit(1)`,
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
