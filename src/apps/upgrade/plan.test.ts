import { describe, expect, test } from 'vitest'
import { mostOrders, nextAct, type Own, type UpgradeReport } from './plan.ts'

const oldVersion = '0.2.0'
const newVersion = '0.3.0'

interface Machine {
  version: string
  role: 'active' | 'standby'
  installed: boolean
  rolledBack: string | undefined
}

/** What goes wrong: by server. */
interface Faults {
  cannotStart?: string
  cannotTakeOver?: string
  neverFetches?: boolean
}

const firstReport: UpgradeReport = {
  version: newVersion,
  holder: 'server-a',
  phase: 'fetch',
  before: { 'server-a': oldVersion, 'server-b': oldVersion },
  orders: 0,
  restarting: null,
  failure: null,
}

/** Two servers that carry out what the plan says, in turns, until it is finished. */
function run(faults: Faults = {}) {
  const machines: Record<string, Machine> = {
    'server-a': { version: oldVersion, role: 'active', installed: true, rolledBack: undefined },
    'server-b': { version: oldVersion, role: 'standby', installed: false, rolledBack: undefined },
  }
  let report = firstReport
  const log: string[] = []
  let waited = 0
  for (let turn = 0; turn < 200; turn++) {
    const name = turn % 2 === 0 ? 'server-a' : 'server-b'
    const otherName = name === 'server-a' ? 'server-b' : 'server-a'
    const self = machines[name]!
    const other = machines[otherName]!
    const own: Own = {
      server: name,
      ...self,
      ready: true,
      steady: true,
      other: { name: otherName, version: other.version, role: other.role, steady: true },
    }
    const act = nextAct(report, own, waited > 20)
    waited = act.do === 'wait' || act.do === 'fetch' ? waited + 1 : 0
    if (act.do !== 'wait') log.push(`${name} ${act.do}`)
    switch (act.do) {
      case 'fetch':
        if (!faults.neverFetches) self.installed = true
        break
      case 'restart':
        expect(self.role, 'who restarts is the standby').toBe('standby')
        report = { ...report, restarting: name }
        self.rolledBack = undefined
        if (act.into === newVersion && faults.cannotStart === name) {
          self.rolledBack = 'exit code 1'
        } else self.version = act.into
        break
      case 'return':
        report = { ...report, restarting: null }
        break
      case 'advance':
        report = { ...report, phase: act.phase, failure: act.failure ?? report.failure }
        break
      case 'hand-over':
        report = { ...report, orders: report.orders + 1 }
        if (faults.cannotTakeOver !== otherName) {
          self.role = 'standby'
          other.role = 'active'
        }
        break
      case 'finish':
        return { log, machines, failure: act.failure }
    }
  }
  throw new Error(`it does not end:\n${log.join('\n')}`)
}

describe('an upgrade', () => {
  test('restarts only a standby, hands over once, and ends with both in the new version', () => {
    const { log, machines, failure } = run()
    expect(failure).toBeNull()
    expect(log.filter(line => line.endsWith('hand-over'))).toEqual(['server-a hand-over'])
    expect(log.filter(line => line.endsWith('restart'))).toEqual([
      'server-b restart',
      'server-a restart',
    ])
    expect(machines).toMatchObject({
      'server-a': { version: newVersion, role: 'standby' },
      'server-b': { version: newVersion, role: 'active' },
    })
  })

  test('ends with both in the old version when the standby cannot run the new one', () => {
    const { machines, failure } = run({ cannotStart: 'server-b' })
    expect(failure).toBe('server-b could not run 0.3.0: exit code 1')
    expect(machines).toMatchObject({
      'server-a': { version: oldVersion, role: 'active' },
      'server-b': { version: oldVersion, role: 'standby' },
    })
  })

  test('goes back when the new version cannot take over', () => {
    const { log, machines, failure } = run({ cannotTakeOver: 'server-b' })
    expect(failure).toBe('server-b did not take over with 0.3.0')
    expect(log.filter(line => line.endsWith('hand-over'))).toHaveLength(mostOrders)
    expect(machines['server-b']).toMatchObject({ version: oldVersion, role: 'standby' })
  })

  test('goes back on both when the second server cannot run the new version', () => {
    const { machines, failure } = run({ cannotStart: 'server-a' })
    expect(failure).toBe('server-a could not run 0.3.0: exit code 1')
    expect(machines).toMatchObject({
      'server-a': { version: oldVersion, role: 'active' },
      'server-b': { version: oldVersion, role: 'standby' },
    })
  })

  test('is given up when the other server cannot fetch it', () => {
    const { failure, machines } = run({ neverFetches: true })
    expect(failure).toMatch(/fetch/)
    expect(machines['server-a']!.version).toBe(oldVersion)
  })

  test('of a server without a standby restarts it', () => {
    const own: Own = {
      server: 'server-a',
      version: oldVersion,
      role: 'active',
      ready: true,
      steady: true,
      installed: true,
      rolledBack: undefined,
      other: undefined,
    }
    const isNew = { ...own, version: newVersion }
    expect(nextAct(firstReport, own, false)).toMatchObject({ do: 'advance', phase: 'second' })
    const second = { ...firstReport, phase: 'second' } as const
    expect(nextAct(second, own, false)).toEqual({ do: 'restart', into: newVersion })
    const restarting = { ...second, restarting: 'server-a' }
    expect(nextAct(restarting, isNew, false)).toMatchObject({ do: 'return' })
    expect(nextAct(second, isNew, false)).toEqual({ do: 'finish', failure: null })
  })
})
