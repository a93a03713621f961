/** What the state must hold to on every PostgreSQL: each noun, as its users see it. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Conflict, InvalidCursor, TermOver } from '../../src/lib/errors.ts'
import { createAlarms } from '../../src/store/postgres/alarms.ts'
import { createAudit } from '../../src/store/postgres/audit.ts'
import { createCredentials } from '../../src/store/postgres/credentials.ts'
import type { Database, Tx } from '../../src/store/postgres/database.ts'
import { createDeviceSource } from '../../src/store/postgres/device-source.ts'
import { createDevices } from '../../src/store/postgres/devices.ts'
import { createExporters } from '../../src/store/postgres/exporters.ts'
import { createInterfaces } from '../../src/store/postgres/interfaces.ts'
import { readLeadership } from '../../src/store/postgres/leadership.ts'
import { createNameLists } from '../../src/store/postgres/name-lists.ts'
import { createRoleChanges } from '../../src/store/postgres/role-changes.ts'
import { createServers } from '../../src/store/postgres/servers.ts'
import { createSessions } from '../../src/store/postgres/sessions.ts'
import { createSnmpAccesses } from '../../src/store/postgres/snmp-accesses.ts'
import { createTokens } from '../../src/store/postgres/tokens.ts'
import { createUsers } from '../../src/store/postgres/users.ts'
import {
  aDevice,
  createTestDatabases,
  openDatabase,
  setUpMs,
  type TestDatabases,
  type TestState,
  takeOver,
} from './databases.ts'
import { jobsContract } from './jobs.ts'
import { pairContract } from './pair.ts'

/** @param server gives the URL of a running server, once the tests run */
export function stateContract(server: () => string): void {
  let databases: TestDatabases
  let url: string
  let client: pg.Client
  let state: TestState
  let database: Database

  beforeAll(async () => {
    databases = await createTestDatabases(server())
  }, setUpMs)
  afterAll(() => databases.stop(), setUpMs)
  beforeEach(async () => {
    url = await databases.create()
    client = new pg.Client({ connectionString: url })
    await client.connect()
    await takeOver(client, 1)
    database = openDatabase(url)
    const other = openDatabase(url)
    await database.start()
    await other.start()
    state = {
      database,
      other,
      write: (work, term = 1) => database.fenced(term, { name: 'ann' }, work),
      raiseTerm: term => takeOver(client, term),
    }
  })
  afterEach(async () => {
    await state.database.stop()
    await state.other.stop()
    await client.end()
    await databases.drop(url)
  })

  const write: TestState['write'] = (work, term) => state.write(work, term)

  describe('users', () => {
    test('begin with an administrator whose password is random and must be changed', async () => {
      const users = createUsers({ database })
      const first = await write(tx => users.createFirst(tx))
      expect(first!.user).toMatchObject({ name: 'admin', role: 'administrator', mustChange: true })
      expect(first!.password.length).toBeGreaterThanOrEqual(20)
      expect(await users.verify('admin', first!.password)).toEqual(first!.user)
      expect(await write(tx => users.createFirst(tx))).toBeNull()
    })

    test('are known by their password alone, of which only a salted scrypt hash is kept', async () => {
      const users = createUsers({ database })
      const passwordHash = await users.hashPassword('correct horse battery')
      const again = await users.hashPassword('correct horse battery')
      expect(passwordHash).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$/)
      expect(again).not.toBe(passwordHash)
      const ann = { name: 'ann', role: 'operator', passwordHash, mustChange: false } as const
      await write(tx => users.create(tx, ann))
      expect(await users.verify('ann', 'correct horse battery')).toMatchObject({ name: 'ann' })
      expect(await users.verify('ann', 'wrong horse battery')).toBeNull()
      expect(await users.verify('nobody', 'correct horse battery')).toBeNull()
      await expect(write(tx => users.create(tx, ann))).rejects.toThrow(Conflict)
    })

    test('lose their other sessions when they change their password', async () => {
      const users = createUsers({ database })
      const sessions = createSessions({ database })
      const first = await write(tx => users.createFirst(tx))
      const kept = await sessions.create(first!.user.id, 60)
      const lost = await sessions.create(first!.user.id, 60)
      const hash = await users.hashPassword('a password of my own')
      expect(await write(tx => users.changePassword(tx, first!.user.id, hash, kept.secret))).toBe(
        true,
      )
      expect(await sessions.find(kept.secret)).toMatchObject({ user: { mustChange: false } })
      expect(await sessions.find(lost.secret)).toBeNull()
      expect(await users.verify('admin', first!.password)).toBeNull()
    })
  })

  test('sessions need no term, end at their time or when removed, and go with their user', async () => {
    const users = createUsers({ database })
    const sessions = createSessions({ database })
    const { user } = (await write(tx => users.createFirst(tx)))!
    await state.raiseTerm(2)
    const lasting = await sessions.create(user.id, 60)
    expect(lasting.expires.getTime()).toBeGreaterThan(Date.now() + 30_000)
    const over = await sessions.create(user.id, 0)
    expect(await sessions.find(over.secret)).toBeNull()
    expect(await sessions.find('unknown')).toBeNull()
    expect(await sessions.find(lasting.secret)).toEqual({ user, expires: lasting.expires })
    await sessions.remove(lasting.secret)
    expect(await sessions.find(lasting.secret)).toBeNull()
    const last = await sessions.create(user.id, 60)
    expect(await write(tx => users.remove(tx, user.id), 2)).toBe(true)
    expect(await sessions.find(last.secret)).toBeNull()
  })

  test('a session is handed over by a code: once, in time, for no longer, and not after its end', async () => {
    const users = createUsers({ database })
    const sessions = createSessions({ database })
    const { user } = (await write(tx => users.createFirst(tx)))!
    const first = await sessions.create(user.id, 60)
    const { code, expires } = (await sessions.createHandOver(first.secret, 30))!
    expect(expires.getTime()).toBeLessThan(first.expires.getTime())
    expect(await sessions.find(code)).toBeNull()
    const takings = await Promise.all([1, 2, 3].map(() => sessions.takeOver(code)))
    const [second, ...others] = takings.filter(taken => taken !== null)
    expect(others).toEqual([])
    expect(second).toMatchObject({ user, expires: first.expires })
    expect(await sessions.find(second!.secret)).toEqual({ user, expires: first.expires })
    expect(await sessions.find(first.secret)).not.toBeNull()

    expect(await sessions.createHandOver('unknown', 30)).toBeNull()
    expect(await sessions.takeOver('unknown')).toBeNull()
    const late = await sessions.createHandOver(first.secret, 0)
    expect(await sessions.takeOver(late!.code)).toBeNull()
    const many = []
    for (let i = 0; i < 21; i++) many.push(await sessions.createHandOver(first.secret, 30 + i))
    expect(await sessions.takeOver(many[0]!.code)).toBeNull()
    expect(await sessions.takeOver(many[1]!.code)).not.toBeNull()
    await sessions.remove(first.secret)
    expect(await sessions.takeOver(many[2]!.code)).toBeNull()
  })

  test('tokens are found by their secret, which is shown once, until they expire or are removed', async () => {
    const tokens = createTokens({ database })
    const make = (name: string, expires: Date | null) =>
      write(tx => tokens.create(tx, { name, role: 'viewer', expires }))
    const { token, secret } = await make('grafana', null)
    expect(secret).toMatch(/^kw_[\w-]{43}$/)
    expect(token).toMatchObject({ name: 'grafana', createdBy: 'ann', expires: null })
    expect(await tokens.find(secret)).toEqual(token)
    expect(await tokens.find(`${secret}x`)).toBeNull()
    const old = await make('old', new Date(Date.now() - 60_000))
    expect(await tokens.find(old.secret)).toBeNull()
    await expect(make('grafana', null)).rejects.toThrow(Conflict)
    expect(await write(tx => tokens.remove(tx, token.id))).toBe(true)
    expect(await tokens.find(secret)).toBeNull()
    expect((await tokens.list()).map(each => each.name)).toEqual(['old'])
  })

  test('the rate of an exporter is what was said last, or nothing', async () => {
    const exporters = createExporters({ database })
    await write(tx => exporters.setSampling(tx, '2001:db8::1', 10))
    await write(tx => exporters.setSampling(tx, '2001:db8::1', 4_294_967_295))
    await write(tx => exporters.setSampling(tx, '192.0.2.1', 2))
    expect(await exporters.list()).toMatchObject([
      { address: '192.0.2.1', sampling: 2 },
      { address: '2001:db8::1', sampling: 4_294_967_295 },
    ])
    await write(tx => exporters.setSampling(tx, '2001:db8::1', null))
    expect((await exporters.list()).map(({ address }) => address)).toEqual(['192.0.2.1'])
  })

  test('an SNMP access comes back as it was given, and only under its key', async () => {
    const key = randomBytes(32)
    const access = { version: '2c' as const, community: 's3cret' }
    const accesses = createSnmpAccesses<typeof access>({ database }, { key })
    const made = await write(tx => accesses.create(tx, { name: 'core', access }))
    expect(await accesses.list()).toEqual([made])
    expect(await accesses.reveal()).toEqual([{ ...made, access }])
    const [stored] = await database.query<{ secret: Buffer }>('SELECT secret FROM snmp_accesses')
    expect(stored!.secret.includes('s3cret')).toBe(false)
    const elsewhere = createSnmpAccesses<typeof access>({ database }, { key: randomBytes(32) })
    await expect(elsewhere.reveal()).rejects.toThrow('another key')
    await expect(write(tx => accesses.create(tx, { name: 'core', access }))).rejects.toThrow(
      Conflict,
    )
    expect(await write(tx => accesses.remove(tx, made.id))).toBe(true)
    expect(await accesses.list()).toEqual([])
  })

  test('interfaces of an exporter are written when they are others than before', async () => {
    const interfaces = createInterfaces({ database })
    const port = { index: 7, name: 'ge-0/0/7', alias: 'to Berlin', speed: 1e9 }
    await write(tx => interfaces.save(tx, '192.0.2.1', [port]))
    const first = await interfaces.version()
    expect(await interfaces.list()).toMatchObject([{ exporter: '192.0.2.1', interfaces: [port] }])
    expect(await interfaces.find('192.0.2.1')).toEqual([port])
    expect(await interfaces.find('192.0.2.2')).toEqual([])
    await write(tx => interfaces.save(tx, '192.0.2.1', [port]))
    expect(await interfaces.version()).toBe(first)
    await write(tx => interfaces.save(tx, '192.0.2.1', [{ ...port, alias: 'to Paris' }]))
    expect(await interfaces.version()).not.toBe(first)
  })

  test('a list of names is replaced as a whole, and not over the change of another', async () => {
    const lists = createNameLists({ database })
    const office = [{ prefix: '10.0.0.0/8', name: 'office', site: '' }]
    expect(await lists.read('networks')).toMatchObject({ entries: [], version: 0 })
    await write(tx => lists.replace(tx, 'networks', { entries: office, version: 0 }))
    const late = write(tx => lists.replace(tx, 'networks', { entries: [], version: 0 }))
    await expect(late).rejects.toThrow(Conflict)
    expect(await lists.read('networks')).toMatchObject({ entries: office, version: 1 })
    await write(tx => lists.replace(tx, 'networks', { entries: [], version: 1 }))
    expect(await lists.versions()).toEqual({ networks: 2, applications: 0 })
  })

  describe('credentials', () => {
    const key = randomBytes(32)
    const secret = { password: 'p4ss', enable: 'en4ble' }

    test('come back as they were given, and only under the key they were stored with', async () => {
      const credentials = createCredentials({ database }, { key })
      const made = await write(tx =>
        credentials.create(tx, { name: 'core', username: 'backup', ...secret }),
      )
      expect(await credentials.list()).toEqual([made])
      expect(await credentials.reveal(made.id)).toEqual({ username: 'backup', ...secret })
      const stored = await database.query<{ secret: Buffer }>('SELECT secret FROM credentials')
      expect(stored[0]!.secret.includes('p4ss')).toBe(false)
      const elsewhere = createCredentials({ database }, { key: randomBytes(32) })
      await expect(elsewhere.reveal(made.id)).rejects.toThrow('another key')
    })

    test('cannot be passed off as one another in the database', async () => {
      const credentials = createCredentials({ database }, { key })
      const make = (name: string) =>
        write(tx => credentials.create(tx, { name, username: name, ...secret }))
      const [one, two] = [await make('one'), await make('two')]
      await write(tx =>
        tx.query(
          'UPDATE credentials SET secret = (SELECT secret FROM credentials WHERE id = $1) WHERE id = $2',
          [one.id, two.id],
        ),
      )
      await expect(credentials.reveal(two.id)).rejects.toThrow('was changed')
    })

    test('stay while a device uses them', async () => {
      const credentials = createCredentials({ database }, { key })
      const devices = createDevices({ database })
      const made = await write(tx =>
        credentials.create(tx, { name: 'a', username: 'b', ...secret }),
      )
      const device = await write(tx => devices.create(tx, { ...aDevice, credentialId: made.id }))
      await expect(write(tx => credentials.remove(tx, made.id))).rejects.toThrow(Conflict)
      const source = createDeviceSource({ database, devices, credentials, term: () => 1 })
      expect(await source.target(device.id)).toMatchObject({
        name: 'edge-1',
        login: { username: 'b', password: 'p4ss', enablePassword: 'en4ble' },
      })
      await write(tx => devices.remove(tx, device.id))
      expect(await write(tx => credentials.remove(tx, made.id))).toBe(true)
    })
  })

  test('devices are added, changed, found and removed, each name once', async () => {
    const devices = createDevices({ database })
    const made = await write(tx => devices.create(tx, aDevice))
    expect(made).toMatchObject({ ...aDevice, hostKey: null })
    await expect(write(tx => devices.create(tx, aDevice))).rejects.toThrow(Conflict)
    const changed = await write(tx =>
      devices.update(tx, made.id, { note: 'roof', schedule: '0 3 * * *' }),
    )
    expect(changed).toEqual({ ...made, note: 'roof', schedule: '0 3 * * *' })
    expect(await write(tx => devices.update(tx, made.id, { schedule: null }))).toMatchObject({
      schedule: null,
      note: 'roof',
    })
    expect(await devices.find(made.id)).toMatchObject({
      versions: 0,
      lastVersion: null,
      lastJob: null,
    })
    await expect(
      write(tx => devices.create(tx, { ...aDevice, name: 'x', credentialId: made.id })),
    ).rejects.toThrow(Conflict)
    expect(await write(tx => devices.remove(tx, made.id))).toBe(true)
    expect(await write(tx => devices.update(tx, made.id, { note: '' }))).toBeNull()
    expect(await devices.list()).toEqual([])
  })

  test('a device shows its host key once, and it is remembered in the term of the active', async () => {
    const devices = createDevices({ database })
    const credentials = createCredentials({ database }, { key: randomBytes(32) })
    const { id } = await write(tx => devices.create(tx, aDevice))
    let term = 1
    const { hostKeys } = createDeviceSource({ database, devices, credentials, term: () => term })
    expect(await hostKeys.get(id)).toBeUndefined()
    await hostKeys.set(id, 'ssh-ed25519 SHA256:abc')
    expect(await hostKeys.get(id)).toBe('ssh-ed25519 SHA256:abc')
    term = 0
    await expect(hostKeys.set(id, 'another')).rejects.toThrow(TermOver)
  })

  jobsContract(() => state)
  pairContract(() => state)

  describe('alarms', () => {
    const down = {
      key: 'collector-a',
      severity: 'warning',
      subject: 'a',
      text: 'is silent',
    } as const

    test('raised twice are one, also at the same moment from two sides', async () => {
      const alarms = createAlarms({ database })
      const results = await Promise.all(
        Array.from({ length: 6 }, (_, i) =>
          (i % 2 ? state.other : database).fenced(1, { name: 'x' }, tx => alarms.raise(tx, down)),
        ),
      )
      expect(results.filter(result => result.raised)).toHaveLength(1)
      expect(new Set(results.map(result => result.alarm.id)).size).toBe(1)
      const worse = await write(tx => alarms.raise(tx, { ...down, severity: 'critical' }))
      expect(worse).toMatchObject({ raised: false, alarm: { severity: 'critical' } })
    })

    test('once cleared can be raised anew', async () => {
      const alarms = createAlarms({ database })
      const first = await write(tx => alarms.raise(tx, down))
      expect(await write(tx => alarms.clear(tx, down.key))).toMatchObject({ id: first.alarm.id })
      expect(await write(tx => alarms.clear(tx, down.key))).toBeNull()
      const second = await write(tx => alarms.raise(tx, down))
      expect(second.raised).toBe(true)
      expect(second.alarm.id).not.toBe(first.alarm.id)
    })

    test('are acknowledged by who was first', async () => {
      const alarms = createAlarms({ database })
      const { alarm } = await write(tx => alarms.raise(tx, down))
      expect(await write(tx => alarms.acknowledge(tx, alarm.id))).toMatchObject({
        acknowledgedBy: 'ann',
      })
      const later = await database.fenced(1, { name: 'bob' }, tx =>
        alarms.acknowledge(tx, alarm.id),
      )
      expect(later!.acknowledgedBy).toBe('ann')
      expect(await write(tx => alarms.acknowledge(tx, 999))).toBeNull()
    })

    test('are listed open ones first, then newest first, page by page', async () => {
      const alarms = createAlarms({ database })
      const raise = (key: string) => write(tx => alarms.raise(tx, { ...down, key }))
      for (const key of ['a', 'b', 'c', 'd', 'e']) await raise(key)
      for (const key of ['b', 'e']) await write(tx => alarms.clear(tx, key))
      const seen: string[] = []
      let cursor: string | undefined
      do {
        const page = await alarms.list({ limit: 2, cursor })
        seen.push(...page.rows.map(row => row.key))
        cursor = page.next ?? undefined
      } while (cursor)
      expect(seen).toEqual(['d', 'c', 'a', 'e', 'b'])
      const open = await alarms.list({ limit: 10, open: false })
      expect(open.rows.map(row => row.key)).toEqual(['e', 'b'])
      await expect(alarms.list({ limit: 1, cursor: 'nonsense' })).rejects.toThrow(InvalidCursor)
    })
  })

  test('the audit keeps who did what in which term, newest first, and nothing of what was rolled back', async () => {
    const audit = createAudit({ database })
    const append = (tx: Tx, subject: string) =>
      audit.append(tx, { action: 'device.create', subject, detail: { port: 22 } })
    await write(tx => append(tx, 'one'))
    await write(tx => append(tx, 'two'))
    await write(async tx => {
      await append(tx, 'undone')
      throw new Error('changed my mind')
    }).catch(() => {})
    const first = await audit.list({ limit: 1 })
    expect(first.rows).toMatchObject([
      { who: 'ann', action: 'device.create', subject: 'two', detail: { port: 22 }, term: 1 },
    ])
    const second = await audit.list({ limit: 1, cursor: first.next! })
    expect(second.rows.map(row => row.subject)).toEqual(['one'])
    expect(second.next).toBeNull()
    await expect(audit.list({ limit: 1, cursor: "1' OR 1" })).rejects.toThrow(InvalidCursor)
  })

  test('servers say that they are there, until a new incarnation takes their name', async () => {
    const servers = createServers({ database })
    const one = {
      name: 'one',
      installed: 'primary',
      incarnation: '11111111-1111-4111-8111-111111111111',
      version: '0.1.0',
      consoleUrl: 'https://one:8443/',
      linkHost: 'one',
      linkPort: 8444,
    } as const
    await servers.register(one)
    const [registered] = await servers.list()
    expect(registered).toMatchObject(one)
    expect(await servers.seen('one', one.incarnation)).toBe(true)
    const next = { ...one, incarnation: '22222222-2222-4222-8222-222222222222' }
    await servers.register(next)
    expect(await servers.seen('one', one.incarnation)).toBe(false)
    expect(await servers.list()).toMatchObject([next])
  })

  test('changes of role are kept, newest first, whoever is active', async () => {
    const changes = createRoleChanges({ database })
    const make = (server: string, role: 'active' | 'standby', term: number) =>
      changes.append({ server, role, term, cause: 'test', sentence: `${server} is ${role}` })
    await make('two', 'active', 2)
    await make('one', 'standby', 1)
    const page = await changes.list({ limit: 1 })
    expect(page.rows).toMatchObject([{ server: 'one', role: 'standby', term: 1 }])
    const rest = await changes.list({ limit: 1, cursor: page.next! })
    expect(rest.rows).toMatchObject([{ server: 'two', sentence: 'two is active' }])
  })

  test('leadership is read together with the heartbeat', async () => {
    await state.raiseTerm(7)
    expect(await readLeadership(database)).toMatchObject({
      term: 7,
      holder: 'two',
      reason: 'a test',
      released: false,
      since: expect.any(Date),
      heartbeat: { term: 0, incarnation: null, counter: 0, beatenAt: expect.any(Date) },
    })
  })
}
