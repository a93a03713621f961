import { describe, expect, test } from 'vitest'
import type { Facts, ServerFacts } from './facts.ts'
import { isFit } from './finding.ts'
import { judge } from './judge.ts'

const now = Date.parse('2026-11-22T00:00:00Z')
const dayMs = 86_400_000
const folderChecks = [
  {
    id: 'folder-write',
    title: 'Shared folder',
    result: 'pass' as const,
    text: 'ok',
    whatToDo: null,
  },
]

/** Of a server that has everything. */
function server(name: 'kw1' | 'kw2', change: Partial<ServerFacts> = {}): ServerFacts {
  const [own, other] = name === 'kw1' ? ['192.0.2.1', '192.0.2.2'] : ['192.0.2.2', '192.0.2.1']
  const peer = name === 'kw1' ? 'kw2' : 'kw1'
  return {
    server: name,
    version: '1.4.0',
    console: { port: 443, protocol: 'https' },
    linkPort: 8450,
    advertise: `${name}.example.net`,
    hostname: `${name}.example.net`,
    domain: 'example.net',
    timeZone: 'Europe/Berlin',
    utcOffsetMinutes: 60,
    cores: 8,
    memoryBytes: 32e9,
    disk: { totalBytes: 1e12, freeBytes: 5e11 },
    fileDescriptors: 65_536,
    receiveBufferBytes: 64 * 2 ** 20,
    git: 'git version 2.47.0',
    root: true,
    netAdmin: true,
    addresses: [
      { address: '127.0.0.1', prefix: 8, interface: 'lo', loopback: true, dynamic: false },
      { address: own!, prefix: 24, interface: 'eth0', loopback: false, dynamic: false },
    ],
    tools: [{ program: 'ip', package: 'iproute2', present: true }],
    ports: [
      { name: 'console', port: 443, state: 'ours' },
      { name: 'link', port: 8450, state: 'free' },
    ],
    reception: [{ name: 'syslog_udp', port: 514, state: 'ours' }],
    certificate: {
      hosts: [`${name}.example.net`, '192.0.2.10'],
      expires: now + 400 * dayMs,
      speaksFor: [`${name}.example.net`, '192.0.2.10'],
    },
    lookups: [
      { asked: `${name}.example.net`, found: [own!] },
      { asked: `${peer}.example.net`, found: [other!] },
    ],
    reverse: [
      { asked: own!, found: [`${name}.example.net`] },
      { asked: other!, found: [`${peer}.example.net`] },
    ],
    database: {
      hosts: ['db.example.net'],
      addresses: ['192.0.2.20'],
      identity: '7/keepwatch',
      roundTripMs: 1,
      clockAheadMs: 2,
      clockUncertaintyMs: 1,
      readOnly: false,
      error: null,
    },
    folderHost: 'files.example.net',
    folder: folderChecks,
    probes: [{ address: '192.0.2.10', answers: false }],
    ...change,
  }
}

function facts(change: Partial<Facts> = {}): Facts {
  return {
    own: server('kw1'),
    other: server('kw2'),
    otherError: undefined,
    link: {
      roundTripsMs: [0.4, 0.5, 3],
      bitsPerSecond: 9e8,
      clockAheadMs: 3,
      clockUncertaintyMs: 1,
    },
    connection: { type: 'virtual-ip', addresses: [{ address: '192.0.2.10', prefix: 24 }] },
    sharedFolder: '/mnt/keepwatch',
    now,
    ...change,
  }
}

const own = (change: Partial<ServerFacts>) => facts({ own: server('kw1', change) })
const other = (change: Partial<ServerFacts>) => facts({ other: server('kw2', change) })
const link = (change: Partial<NonNullable<Facts['link']>>) =>
  facts({ link: { ...facts().link!, ...change } })
const database = (change: Partial<NonNullable<ServerFacts['database']>>) => ({
  database: { ...server('kw1').database!, ...change },
})
const address = (change: Partial<ServerFacts['addresses'][number]>) => ({
  addresses: [{ ...server('kw1').addresses[1]!, ...change }],
})

function found(id: string, given: Facts) {
  const finding = judge(given).find(one => one.id === id)
  if (finding === undefined) throw new Error(`there is no check ${id}`)
  return finding
}

test('a pair that has everything passes every check, and nothing is to be done', () => {
  const findings = judge(facts())
  expect(findings.filter(({ result }) => result !== 'pass')).toEqual([])
  expect(findings.map(({ whatToDo }) => whatToDo)).toEqual(findings.map(() => null))
  expect(isFit(findings)).toBe(true)
})

test('what is not right says what to do, whatever it is', () => {
  const nothing = server('kw2', {
    ...{ version: '9.0.0', cores: 1, memoryBytes: 1e9, fileDescriptors: 100, git: null },
    ...{ receiveBufferBytes: 1, netAdmin: false, certificate: null, domain: null },
    ports: [{ name: 'link', port: 8450, state: 'taken' }],
    ...database({ error: 'nobody listens' }),
  })
  const findings = judge(facts({ other: nothing }))
  const wrong = findings.filter(({ result }) => result === 'warning' || result === 'failure')
  expect(wrong.length).toBeGreaterThan(10)
  for (const { id, text, whatToDo } of wrong) {
    expect({ id, text }).toEqual({ id, text: expect.stringMatching(/kw2|different/) })
    expect({ id, whatToDo }).toEqual({ id, whatToDo: expect.stringMatching(/\w/) })
  }
  expect(isFit(findings)).toBe(false)
})

// biome-ignore format: one case a line
const cases: [id: string, result: string, what: string, given: Facts, text: RegExp][] = [
  ['version', 'warning', 'differs by a patch', other({ version: '1.4.2' }), /kw1 has 1\.4\.0, kw2 has 1\.4\.2/],
  ['version', 'failure', 'differs by more than one release', other({ version: '1.9.0' }), /1\.9\.0/],
  ['port-and-protocol', 'failure', 'differs behind one address', other({ console: { port: 8443, protocol: 'https' } }), /https on port 8443/],
  ['port-and-protocol', 'warning', 'differs where no address moves', facts({ connection: { type: 'none' }, other: server('kw2', { console: { port: 443, protocol: 'http' } }) }), /http on port 443/],
  ['clock', 'pass', 'is within what can be measured', link({ clockAheadMs: 1400, clockUncertaintyMs: 500 }), /kw2 and kw1/],
  ['clock', 'warning', 'is seconds ahead', link({ clockAheadMs: -4000 }), /4\.0 s apart/],
  ['clock', 'failure', 'is minutes ahead', link({ clockAheadMs: 200_000 }), /200 s apart/],
  ['clock', 'warning', 'differs from the database', own(database({ clockAheadMs: 9000 })), /kw1 and the database/],
  ['time-zone', 'warning', 'differs', other({ timeZone: 'UTC', utcOffsetMinutes: 0 }), /other hours/],
  ['time-zone', 'warning', 'has another name and the same time', other({ timeZone: 'Europe/Paris' }), /same time today/],
  ['hardware', 'warning', 'is a little less', other({ memoryBytes: 20e9 }), /memory: kw1 30 GiB, kw2 19 GiB/],
  ['hardware', 'failure', 'is less than half', other({ cores: 2 }), /cores: kw1 8, kw2 2/],
  ['static-address', 'warning', 'is leased', own(address({ dynamic: true })), /kw1 has 192\.0\.2\.1 by a lease/],
  ['static-address', 'skipped', 'cannot be judged', facts({ own: server('kw1', address({ dynamic: null })), other: undefined }), /cannot be seen/],
  ['resolve', 'failure', 'has no address of the other', own({ lookups: [{ asked: 'kw2.example.net', found: [] }] }), /kw1 cannot resolve kw2\.example\.net/],
  ['resolve', 'failure', 'has none the other way', other({ lookups: [{ asked: 'kw1.example.net', found: [] }] }), /kw2 cannot resolve kw1\.example\.net/],
  ['resolve', 'warning', 'has another address of the other', own({ lookups: [{ asked: 'kw2.example.net', found: ['203.0.113.9'] }] }), /which kw2 does not have/],
  ['resolve', 'warning', 'has no name of the address', own({ reverse: [{ asked: '192.0.2.2', found: [] }] }), /no name for 192\.0\.2\.2/],
  ['latency', 'warning', 'is long', link({ roundTripsMs: [50, 60, 70] }), /takes 60 ms/],
  ['latency', 'failure', 'is very long', link({ roundTripsMs: [300] }), /takes 300 ms/],
  ['bandwidth', 'warning', 'is small', link({ bitsPerSecond: 40e6 }), /40 Mbit\/s/],
  ['bandwidth', 'failure', 'is tiny', link({ bitsPerSecond: 2e6 }), /2\.0 Mbit\/s/],
  ['bandwidth', 'failure', 'is not to be had', link({ bitsPerSecond: null }), /did not get/],
  ['database', 'warning', 'is far', own(database({ roundTripMs: 90 })), /kw1 has an answer after 90 ms/],
  ['database', 'failure', 'is very far', own(database({ roundTripMs: 900 })), /900 ms/],
  ['database', 'failure', 'is not reached', other(database({ error: 'db: nobody listens' })), /kw2 does not reach it: db: nobody listens/],
  ['database', 'failure', 'is a replica', other(database({ readOnly: true })), /replica/],
  ['database', 'failure', 'is another one', other(database({ identity: '8/keepwatch' })), /two different/],
  ['database-elsewhere', 'failure', 'is on this server', own(database({ addresses: ['192.0.2.1'] })), /on kw1 itself/],
  ['database-elsewhere', 'failure', 'is on the loopback address', own(database({ addresses: ['::1'] })), /on kw1 itself/],
  ['database-elsewhere', 'failure', 'is on the other', other(database({ addresses: ['192.0.2.2'] })), /on kw2 itself/],
  ['folder-elsewhere', 'warning', 'is not there', facts({ sharedFolder: null }), /no shared folder/],
  ['folder-elsewhere', 'warning', 'is on a disk of its own', own({ folderHost: null, folder: [] }), /on a disk of kw1/],
  ['folder-elsewhere', 'failure', 'is on the other server', own({ folderHost: '192.0.2.2' }), /one of the two servers/],
  ['folder-elsewhere', 'failure', 'is on itself', own({ folderHost: 'kw1.example.net' }), /one of the two servers/],
  ['folder-write', 'failure', 'is not written by one', other({ folder: [{ ...folderChecks[0]!, result: 'failure', text: 'may not write', whatToDo: 'let it' }] }), /^kw2: may not write$/],
  ['domain', 'warning', 'differs', other({ domain: 'example.org' }), /kw2: example\.org/],
  ['domain', 'warning', 'differs for the folder', facts({ own: server('kw1', { folderHost: 'nas.corp.example' }) }), /nas\.corp\.example/],
  ['tools', 'failure', 'are missing', own({ tools: [{ program: 'ip', package: 'iproute2', present: false }] }), /kw1 has no ip/],
  ['tools', 'failure', 'may not be used', other({ netAdmin: false }), /kw2 may not set addresses/],
  ['ports', 'failure', 'are taken', own({ ports: [{ name: 'console', port: 443, state: 'taken' }] }), /cannot open 443 \(console\)/],
  ['reception', 'failure', 'are taken', other({ reception: [{ name: 'syslog_udp', port: 514, state: 'taken' }] }), /kw2 cannot open 514 \(syslog_udp\)/],
  ['virtual-address', 'failure', 'is answered', own({ probes: [{ address: '192.0.2.10', answers: true }] }), /somebody answers at 192\.0\.2\.10/],
  ['virtual-address', 'failure', 'lies in no network', facts({ connection: { type: 'virtual-ip', addresses: [{ address: '203.0.113.5', prefix: 24 }] } }), /in no network of kw1/],
  ['virtual-address', 'warning', 'has another prefix than the network', facts({ connection: { type: 'virtual-ip', addresses: [{ address: '192.0.2.10', prefix: 25 }] } }), /prefix 25, and eth0/],
  ['virtual-address', 'failure', 'is the name of a server', facts({ connection: { type: 'virtual-name', name: 'kw2.example.net' } }), /kw2 itself/],
  ['virtual-address', 'pass', 'is a name of its own', facts({ connection: { type: 'virtual-name', name: 'keepwatch.example.net' } }), /nobody's own/],
  ['virtual-address', 'skipped', 'is not wanted', facts({ connection: { type: 'none' } }), /none/],
  ['certificate', 'failure', 'is not for the virtual name', facts({ connection: { type: 'virtual-name', name: 'keepwatch.example.net' } }), /not for keepwatch\.example\.net/],
  ['certificate', 'failure', 'has ended', own({ certificate: { ...server('kw1').certificate!, expires: now - 3 * dayMs } }), /ended 3 days ago/],
  ['certificate', 'warning', 'ends soon', own({ certificate: { ...server('kw1').certificate!, expires: now + 9.5 * dayMs } }), /ends in 9 days/],
  ['certificate', 'warning', 'is missing', own({ certificate: null, console: { port: 443, protocol: 'http' } }), /without TLS/],
  ['git', 'warning', 'is missing', other({ git: null }), /kw2 has no git/],
  ['disk', 'warning', 'is nearly full', own({ disk: { totalBytes: 1e12, freeBytes: 5e9 } }), /kw1 has 4\.7 GiB free/],
  ['disk', 'failure', 'is full', own({ disk: { totalBytes: 1e12, freeBytes: 5e8 } }), /477 MiB free/],
  ['memory', 'warning', 'is little', own({ memoryBytes: 2.1e9 }), /2\.0 GiB/],
  ['memory', 'failure', 'is too little', own({ memoryBytes: 1e9 }), /954 MiB/],
  ['file-descriptors', 'warning', 'are few', own({ fileDescriptors: 1024 }), /may open 1024/],
  ['file-descriptors', 'failure', 'are too few', own({ fileDescriptors: 256 }), /may open 256/],
  ['receive-buffer', 'warning', 'is small', own({ receiveBufferBytes: 212_992 }), /208 KiB/],
]

describe('each check', () => {
  test.each(cases)('%s: %s when it %s', (id, result, _what, given, text) => {
    const finding = found(id, given)
    expect(finding).toMatchObject({ result, text: expect.stringMatching(text) })
  })

  test('that has failed and been warned about is among these cases, or can do neither', () => {
    const ids = judge(facts()).map(({ id }) => id)
    const tried = new Set(cases.map(([id]) => id))
    expect(ids.filter(id => !tried.has(id))).toEqual([])
  })
})

test('a virtual address that one of the pair holds already is no conflict', () => {
  const held = server('kw1')
  held.addresses.push({
    address: '192.0.2.10',
    prefix: 24,
    interface: 'eth0',
    loopback: false,
    dynamic: true,
  })
  held.probes = [{ address: '192.0.2.10', answers: true }]
  const given = facts({ own: held })
  expect(found('virtual-address', given).result).toBe('pass')
  // It ends by itself, as a lease does, and is none.
  expect(found('static-address', given).result).toBe('pass')
})

test('addresses are the same however they are written', () => {
  const given = facts({
    own: server('kw1', { folderHost: '2001:db8::1' }),
    other: server('kw2', address({ address: '2001:0db8:0:0::1', prefix: 64 })),
  })
  expect(found('folder-elsewhere', given).result).toBe('failure')
})

test('without a second server, what concerns both is skipped and the rest is judged', () => {
  const alone = facts({ other: undefined, link: undefined })
  const skipped = judge(alone).filter(({ result }) => result === 'skipped')
  expect(skipped.map(({ id }) => id)).toEqual([
    'version',
    'port-and-protocol',
    'time-zone',
    'hardware',
    'resolve',
    'latency',
    'bandwidth',
  ])
  const silent = facts({ other: undefined, link: undefined, otherError: 'kw2 does not answer' })
  expect(found('version', silent)).toMatchObject({
    text: 'kw2 does not answer',
    whatToDo: expect.stringContaining('start the other server'),
  })
})
