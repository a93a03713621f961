import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createLeaseSession } from '../../src/failover/lease/session.ts'
import { timingsOf } from '../../src/failover/timings.ts'
import { databaseTargets } from '../../src/lib/database-hosts.ts'
import { createReplicaTemplate, type Replicas } from '../contract/replicas.ts'
import { createLab, type Lab, type Member } from './lab.ts'
import { deadline } from './waits.ts'

const slow = { timeout: 180_000 }
/** Time for a promotion on a busy machine within the lease. */
const timings = timingsOf({ heartbeatMs: 1000, leaseMs: 20_000, timeoutMs: 60_000 })

// The processes of a PostgreSQL are found by /proc.
describe.skipIf(!existsSync('/proc/self/task'))('a database of two hosts (needs /proc)', () => {
  let template: Awaited<ReturnType<typeof createReplicaTemplate>>
  let hosts: Replicas
  let lab: Lab
  let members: Member[]

  beforeAll(async () => {
    template = await createReplicaTemplate()
  }, 90_000)
  afterAll(() => template.stop())
  beforeEach(async () => {
    members = []
    lab = await createLab({ postgres: false })
    hosts = await template.start({ synchronous: true })
  }, 120_000)
  afterEach(async () => {
    await lab.stop()
    await hosts.stop()
  }, 60_000)

  async function begin(name: 'a' | 'b') {
    const member = await lab.member(name, timings, { databaseUrl: hosts.url })
    members.push(member)
    member.tell('start')
    return member
  }

  test(
    'fails over, and that is not a failover of the servers: renewals follow it',
    slow,
    async () => {
      const a = await begin('a')
      const { term } = await a.is('active', 40_000)
      const b = await begin('b')
      await b.said('change', {
        where: said => said.sentence.includes('a is active'),
        withinMs: 40_000,
      })
      await hosts.first.kill()
      const before = Date.now()
      await hosts.second.query('SELECT pg_promote()')
      const { at, sentence } = await a.said('change', {
        where: said => said.sentence.includes('the database is another one now'),
        withinMs: 40_000,
      })
      console.log(`promotion → renewed there: ${(at - before) / 1000} s`)
      expect(sentence).toMatch(/\/00000002\), and this term is in it/)
      await b.said('change', {
        where: said => said.sentence.includes('the database is another one than before'),
        withinMs: 40_000,
      })
      expect(a.now()).toMatchObject({ state: 'active', term })
      expect(b.now()?.role).toBe('standby')
      await deadline(async () => {
        const file = JSON.parse(await readFile(join(lab.folder, 'a', 'term.json'), 'utf8'))
        return file.term === term && file.database.endsWith('/00000002')
      })
    },
  )

  test('loses the last term: nobody works in it, and the next is above it', slow, async () => {
    const a = await begin('a')
    const { term } = await a.is('active', 40_000)
    // From here on nothing reaches the replica.
    await hosts.first.query("ALTER SYSTEM SET synchronous_standby_names = ''")
    await hosts.first.query('SELECT pg_reload_conf()')
    await hosts.second.query("ALTER SYSTEM SET primary_conninfo = ''")
    await hosts.second.query('SELECT pg_reload_conf()')
    await deadline(async () => {
      return (await hosts.second.query('SELECT FROM pg_stat_wal_receiver')).length === 0
    })
    await a.kill()
    const b = await begin('b')
    const lost = await b.is('active', 40_000)
    expect(lost.term).toBe(term + 1)
    await hosts.first.kill()
    await hosts.second.query('SELECT pg_promote()')
    const { sentence } = await b.said('change', {
      where: said => said.sentence.startsWith('letting go'),
      withinMs: 60_000,
    })
    expect(sentence).toContain(`the lease is no longer its own (term ${term})`)
    const from = b.heard.length
    const next = await b.said('change', {
      ...{ from, withinMs: 90_000 },
      where: said => said.state === 'active',
    })
    expect(next.term).toBe(10_001)
    const waited = b.heard.some(
      said => said.said === 'change' && said.sentence.includes('it waits for 20 s'),
    )
    expect(waited).toBe(true)
  })

  test(
    'is known by its identity also to a role without rights, and an old primary is refused',
    slow,
    async () => {
      const [row] = await hosts.first.query(
        "SELECT system_identifier || '/00000001' AS id FROM pg_control_system()",
      )
      await hosts.first.query("CREATE ROLE plain LOGIN PASSWORD 'plain'")
      const url = hosts.url.replace(/\/\/[^@]*@/, '//plain:plain@')
      const open = (known?: string) =>
        createLeaseSession(
          {
            ...{ targets: databaseTargets(url), applicationName: 'keepwatch/test', known },
            deadlineMs: 20_000,
          },
          () => {},
        )
      const session = open()
      await session.query('SELECT 1')
      expect(session.database).toBe(row!.id)
      expect(session.unidentified).toBeUndefined()
      session.close()

      await hosts.first.query('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC')
      const blind = open()
      await blind.query('SELECT 1')
      expect(blind.database).toBeUndefined()
      expect(blind.unidentified).toBe('permission denied for function pg_control_system')
      blind.close()
      await hosts.first.query('GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC')

      const later = `${String(row!.id).split('/')[0]}/00000002`
      await expect(open(later).query('SELECT 1')).rejects.toThrow(
        /no host of the database takes writes: .*left behind when another host was promoted/,
      )
    },
  )

  test(
    'of two hosts that both take writes the one that was promoted last is used',
    slow,
    async () => {
      await hosts.first.kill()
      await hosts.second.query('SELECT pg_promote()')
      await hosts.first.start()
      await hosts.first.query("ALTER SYSTEM SET synchronous_standby_names = ''")
      await hosts.first.query('SELECT pg_reload_conf()')
      const session = createLeaseSession(
        {
          ...{ targets: databaseTargets(hosts.url), applicationName: 'keepwatch/test' },
          ...{ known: undefined, deadlineMs: 20_000 },
        },
        () => {},
      )
      await session.query('SELECT 1')
      expect(session.database).toMatch(/\/00000002$/)
      session.close()
    },
  )
})

test('a URL without hosts that answer says what each of them said', async () => {
  const url = 'postgresql://x:y@127.0.0.1:1,127.0.0.1:2/keepwatch'
  const session = createLeaseSession(
    {
      ...{ targets: databaseTargets(url), applicationName: 'keepwatch/test' },
      ...{ known: undefined, deadlineMs: 5000 },
    },
    () => {},
  )
  await expect(session.query('SELECT 1')).rejects.toThrow(
    /127\.0\.0\.1:1: .*ECONNREFUSED.*127\.0\.0\.1:2: .*ECONNREFUSED/,
  )
})
