/** Real versions of the package, upgraded on a pair that works: good ones, broken ones, and with kill -9. */
import { type ChildProcess, fork } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { manifestFile } from '../../src/apps/upgrade/home.ts'
import { eachOnce, storedNumbers } from './stored-numbers.ts'
import {
  type Name,
  names,
  type Operation,
  startUpgradeLab,
  type UpgradeLab,
} from './upgrade-lab.ts'
import { addMigration, edit, installQuickly } from './upgrade-packages.ts'

vi.setConfig({ testTimeout: 600_000 })

const flowsPerSecond = 1200
const messagesPerSecond = 100
const rounds = 2
const steadyMs = 4000
const mark = 'as version 0.3.0 shows it'

let lab: UpgradeLab
let sender: ChildProcess
let migration: string
let oldVersion: string

beforeAll(async () => {
  lab = await startUpgradeLab()
  oldVersion = lab.packages.version
  const { netflow, syslog_udp } = lab.collector.ports
  const rates = [flowsPerSecond, messagesPerSecond]
  sender = fork(
    join(import.meta.dirname, 'numbered-sender.ts'),
    [netflow, syslog_udp, ...rates].map(String),
  )
  await once(sender, 'message')
}, 300_000)

afterAll(async () => {
  sender?.kill('SIGKILL')
  await lab?.remove()
}, 120_000)

/** The release after that of the sources, and so on. */
function release(steps: number, patch = 0): string {
  const [major, minor] = oldVersion.split('.').map(Number)
  return `${major}.${minor! + steps}.${patch}`
}

/** The old version could not work after it, so it waits until nobody can go back any more. */
const laterMigration = () =>
  `-- compatible-from: ${release(1)}\n-- may-wait\nALTER TABLE devices ADD COLUMN of_the_test integer;\n`

const versionsRun = async () => {
  const { servers } = await lab.call<{ servers: { version: string }[] }>(
    await lab.untilPair(),
    'GET',
    '/pair',
  )
  return servers.map(({ version }) => version)
}

const appliedMigrations = async () =>
  (await lab.sql<{ name: string; applied: Date }>('SELECT name, applied FROM migrations')).map(
    ({ name, applied }) => [name, applied] as const,
  )

function packageBytes(version: string): number {
  const file = join(lab.homes['server-b'].folderOf(version), manifestFile)
  const { entries } = JSON.parse(readFileSync(file, 'utf8')) as { entries: { size?: number }[] }
  return entries.reduce((sum, { size = 0 }) => sum + size, 0)
}

/** Looks who is active, again and again. @returns how to stop, with the longest time without anybody */
function watchActive() {
  let last = performance.now()
  let longest = 0
  let stopped = false
  const ask = async (name: Name) => {
    const answer = await fetch(`${lab.url(name)}/active`, { signal: AbortSignal.timeout(1000) })
    return answer.status === 200
  }
  const watching = (async () => {
    while (!stopped) {
      const answers = await Promise.all(names.map(name => ask(name).catch(() => false)))
      const now = performance.now()
      if (answers.some(active => active)) {
        longest = Math.max(longest, now - last)
        last = now
      }
      await sleep(20)
    }
  })()
  return async () => {
    stopped = true
    await watching
    return Math.max(longest, performance.now() - last)
  }
}

async function upgradeOf(id: string): Promise<Operation> {
  const looks = names.map(name => lab.call<Operation>(name, 'GET', `/pair/operations/${id}`))
  return Promise.any(looks)
}

describe('an upgrade of a pair', () => {
  test('to a version that cannot work beside the present one is refused, with the reason', async () => {
    const version = release(3)
    const { code, said } = await lab.keepwatch('server-a', 'upgrade', lab.packages.make(version))
    expect(said).toMatch(/cannot be upgraded: .*upgrade from one release to the next/)
    expect(code).toBe(1)
    expect(lab.homes['server-a'].has(version), 'nothing was installed for it').toBe(false)
  })

  test('to a version that ends at its start is rolled back, and says why', async () => {
    const version = release(1, 1)
    const folder = lab.packages.make(version, made => {
      edit(
        join(made, 'dist/apps/server/server.js'),
        text => `throw new Error('this version is broken')\n${text}`,
      )
    })
    await installQuickly(lab.homes['server-a'], folder, oldVersion, version)
    const { code, said } = await lab.keepwatch('server-a', 'upgrade', folder)
    expect(said).toMatch(
      /failed: server-[ab] could not run .*: exit code 1: .*this version is broken/,
    )
    expect(code).toBe(1)
    expect(await versionsRun()).toEqual([oldVersion, oldVersion])
  })

  test('to a version that does not become ready is rolled back too', async () => {
    const version = release(1, 2)
    const folder = lab.packages.make(version, made => {
      // As an engine that takes for ever.
      writeFileSync(
        join(made, 'dist/store/clickhouse/engine-process.js'),
        `process.once('disconnect', () => process.exit(0)); setInterval(() => {}, 1000)`,
      )
    })
    await installQuickly(lab.homes['server-a'], folder, oldVersion, version)
    const { code, said } = await lab.keepwatch('server-a', 'upgrade', folder)
    expect(said).toMatch(/failed: server-[ab] could not run .*: not ready within \d+ s/)
    expect(code).toBe(1)
    expect(await versionsRun()).toEqual([oldVersion, oldVersion])
    const status = await lab.keepwatch('server-b', 'upgrade', '--status')
    expect(status.said).toMatch(/not ready within/)
    expect(status.code).toBe(1)
  })

  test('changes both, and is interrupted for no longer than by a switchover', async () => {
    const planned = watchActive()
    const switched = await lab.keepwatch('server-a', 'failover', 'switchover')
    expect(switched.code, switched.said).toBe(0)
    await lab.untilPair()
    const plannedMs = await planned()

    const version = release(1)
    const folder = lab.packages.make(version, made => {
      edit(join(made, 'web/dist/index.html'), text => `${text}\n<!-- ${mark} -->`)
      migration = addMigration(made, laterMigration())
    })
    const rolling = watchActive()
    const began = performance.now()
    const { code, said } = await lab.keepwatch('server-a', 'upgrade', folder)
    expect(code, said).toBe(0)
    const seconds = (performance.now() - began) / 1000
    await lab.untilPair(version)
    const rollingMs = await rolling()
    for (const name of names) {
      expect(await (await fetch(lab.url(name))).text()).toContain(mark)
      expect(lab.homes[name].proven()).toBe(version)
      expect(lab.homes[name].previous()).toBe(oldVersion)
    }
    const [, fetched, unit] = /server-b: has version .* ([\d.]+) ([kM]B), were new/.exec(said) ?? []
    process.stdout.write(
      `upgrade from ${oldVersion} to ${version}: ${seconds.toFixed(1)} s in all, ${fetched} ${unit} of ${(packageBytes(version) / 1e6).toFixed(0)} MB fetched; ` +
        `nobody active for ${rollingMs.toFixed(0)} ms, in a planned switchover ${plannedMs.toFixed(0)} ms\n`,
    )
    expect(unit, 'only what is new').toBe('kB')
    // Loosely: machines that are busy stretch each of them.
    expect(rollingMs).toBeLessThan(3 * plannedMs + 2000)
  })

  test('brings the migration that the older version could not live with when it is over', async () => {
    const applied = await lab.until('the migration is there', appliedMigrations, all =>
      all.some(([name]) => name === migration),
    )
    const [last] = await lab.sql<{ finished: Date }>(
      `SELECT finished FROM operations WHERE kind = 'upgrade' AND ok ORDER BY started DESC LIMIT 1`,
    )
    const at = applied.find(([name]) => name === migration)![1]
    expect(at.getTime()).toBeGreaterThan(last!.finished.getTime())
  })

  test('in which a server or its launcher is killed ends unaided, with both alike or a reason', async () => {
    const versions = [release(1), release(2)] as const
    const folder = lab.packages.make(versions[1], made => {
      edit(join(made, 'web/dist/index.html'), text => `${text}\n<!-- another -->`)
      addMigration(made, laterMigration())
    })
    await installQuickly(lab.homes['server-a'], folder, versions[0], versions[1])
    for (let round = 0; round < rounds; round++) {
      const active = await lab.untilPair()
      const [present] = await versionsRun()
      const wanted = versions.find(version => version !== present)!
      const { id } = await lab.call<{ id: string }>(active, 'POST', '/pair/upgrade', {
        version: wanted,
        holder: 'server-a',
      })
      const step = randomInt(1, 9)
      const victim = names[randomInt(2)]!
      const what = randomInt(3) === 0 ? 'launcher' : 'server'
      await lab.until(
        `step ${step}`,
        () => upgradeOf(id),
        ({ steps, finished }) => steps.length >= step || finished !== null,
      )
      lab.kill(victim, what)
      const ended = await lab.until(
        'the upgrade has ended',
        () => upgradeOf(id),
        ({ finished }) => finished !== null,
        180_000,
      )
      const now = await versionsRun()
      const failure = (ended.report as { failure: string | null }).failure
      process.stdout.write(
        `${present} → ${wanted}, ${what} of ${victim} killed at step ${step}: ${now.join(' and ')}${failure ? ` (${failure})` : ''}\n`,
      )
      if (ended.ok) expect(now).toEqual([wanted, wanted])
      else {
        expect(failure).toBeTruthy()
        expect(now).toEqual([present, present])
      }
    }
  })

  test('loses and doubles nothing of what collectors deliver', async () => {
    sender.send('stop')
    const [sent] = (await once(sender, 'message')) as [{ flows: number; messages: number }]
    let seen = ''
    let since = performance.now()
    await lab.until('all is delivered', lab.collector.state, ({ kinds }) => {
      const text = JSON.stringify(kinds)
      if (text !== seen) since = performance.now()
      seen = text
      return (
        kinds.every(({ backlog }) => backlog === 0) &&
        kinds.find(({ kind }) => kind === 'flow')?.rows === sent.flows &&
        kinds.find(({ kind }) => kind === 'syslog')?.rows === sent.messages &&
        // What is not sealed yet is no backlog.
        performance.now() - since > steadyMs
      )
    })
    await lab.stopServers()
    for (const name of names) {
      const { flows, messages } = await storedNumbers(lab.dataDir, name)
      process.stdout.write(
        `${name}: ${sent.flows} flows sent, ${sent.flows - flows.distinct} lost, ${flows.rows - flows.distinct} doubled; ` +
          `${sent.messages} messages sent, ${sent.messages - messages.distinct} lost, ${messages.rows - messages.distinct} doubled\n`,
      )
      expect(flows).toEqual(eachOnce(sent.flows))
      expect(messages).toEqual(eachOnce(sent.messages))
    }
  })
})
