/**
 * What docs/operation/install.md says, done by an operator on two machines, and the first takeover.
 * No name server answers in this network: names are in `/etc/hosts`.
 */
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createPostgresHost, databaseUrl } from './database.ts'
import { createSharedFolder, type SharedFolder } from './folder.ts'
import { virtual } from './lab.ts'
import { createMailbox, type Mailbox } from './mailbox.ts'
import { type Host, labObstacle, type Network, openNetwork, unmountBelow } from './network.ts'
import { createProgram, type Program } from './program.ts'

const obstacle = labObstacle(['sshfs', 'ndisc6', 'ndptool'])
const main = join(import.meta.dirname, '../../src/main.ts')
const inform = join(import.meta.dirname, 'inform.py')
const testMs = 300_000
const deadlineMs = 120_000
const both = `${virtual.ipv4}/24,${virtual.ipv6}/64`
const recipients = ['ops@example.net', 'noc@example.net']

interface Machine {
  host: Host
  settings: string
  data: string
  program: Program
}

interface Pair {
  active: string | null
  servers: { name: string; role: string }[]
  address: { what: string[]; held: boolean; fault: string | null }
}

describe.skipIf(obstacle)(`an operator${obstacle ? ` (${obstacle})` : ''}`, () => {
  const undo: (() => unknown)[] = []
  let network: Network
  let shared: SharedFolder
  let mailbox: Mailbox
  let kw1: Machine
  let kw2: Machine
  let line: string[]
  let requests = 0

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'keepwatch-install-'))
    chmodSync(folder, 0o755)
    undo.push(() => {
      unmountBelow(folder)
      rmSync(folder, { recursive: true, force: true })
    })
    network = await openNetwork({ kw1: 11, kw2: 12, db1: 21, folder: 31, person: 51 }, { folder })
    undo.push(() => network.close())
    for (const { namespace } of network.hosts.values()) {
      writeFileSync(`/etc/netns/${namespace}/resolv.conf`, 'nameserver 10.77.0.99\n')
    }
    const hosts = [network.host('kw1'), network.host('kw2')] as const
    const database = createPostgresHost(network.host('db1'), join(folder, 'db1'))
    undo.push(() => database.stop())
    shared = createSharedFolder(network.host('folder'), hosts, folder)
    undo.push(() => shared.stop())
    mailbox = createMailbox(network.host('person'))
    undo.push(() => mailbox.stop())
    await Promise.all([database.start(), shared.start(), mailbox.start()])
    const machines = hosts.map(host => machineOn(host, join(folder, host.name)))
    kw1 = machines[0]!
    kw2 = machines[1]!
    for (const { program } of machines) undo.push(() => program.off())
  }, testMs)

  afterAll(async () => {
    for (const step of undo.reverse()) await step()
  }, testMs)

  function machineOn(host: Host, folder: string): Machine {
    const settings = join(folder, 'etc', 'server.yaml')
    mkdirSync(folder)
    return {
      host,
      settings,
      data: join(folder, 'data'),
      program: createProgram(host, {
        name: host.name,
        logFile: join(folder, 'log'),
        command: () => withFolder(host, ['server', '--settings', settings]),
      }),
    }
  }

  function withFolder(host: Host, args: string[]) {
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', main, ...args]
    return { file: 'sh', args: ['-ec', `${shared.mounts(host)}\nexec "$@"`, 'sh', ...node] }
  }

  /** A command to its end, which must be a good one. @returns what it said on standard output */
  async function keepwatch({ host, settings }: Machine, ...words: string[]): Promise<string> {
    const { file, args } = withFolder(host, [...words, '--settings', settings])
    const child = host.spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, said] = ['', '']
    child.stdout!.on('data', data => {
      out += data
    })
    child.stderr!.on('data', data => {
      said += data
    })
    const late = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
    const [code] = await once(child, 'close')
    clearTimeout(late)
    expect(code, `keepwatch ${words.join(' ')}: ${out}${said}`).toBe(0)
    return out
  }

  async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + deadlineMs
    let last: unknown
    while (performance.now() < deadline) {
      const found = await look().catch(error => {
        last = error
        return undefined
      })
      if (found !== undefined) return found
      await sleep(100)
    }
    throw new Error(`not in time: ${what}${last ? `: ${last}` : ''}`)
  }

  const untilRoles = (machine: Machine, roles: Record<string, string>) =>
    until(`roles ${JSON.stringify(roles)}`, async () => {
      const text = await keepwatch(machine, 'failover', 'status', '--json')
      const pair = JSON.parse(text) as Pair
      const now = Object.fromEntries(pair.servers.map(({ name, role }) => [name, role]))
      if (JSON.stringify(now) !== JSON.stringify(roles)) throw new Error(text)
      return pair
    })

  /** As a device does, again and again until it is answered, by the address that it asked. */
  const untilAnswered = (address: string) =>
    until(`an answer of ${address}`, async () => {
      const person = network.host('person')
      await person.run('/usr/bin/python3', '-I', inform, address, `${++requests}`, '2')
      return true
    })

  const activeAt = async (address: string) => {
    const url = `https://${address.includes(':') ? `[${address}]` : address}/active`
    const answer = await network.host('person').run('curl', '-sk', '-m', '3', url)
    return (JSON.parse(answer) as { active: string }).active
  }

  test(
    'makes the first server with one command, and says how the pair is to be with another',
    async () => {
      const { host, data, program } = kw1
      await keepwatch(
        kw1,
        ...['init', '--database', databaseUrl(['db1']), '--name', 'kw1', '--address', host.name],
        ...['--data', data],
      )
      await program.start()
      const said = await until('the line for the second machine', () =>
        keepwatch(
          kw1,
          ...['failover', 'enable', '--secondary', 'kw2', '--folder', shared.path],
          ...['--virtual-ip', both, '--mail', recipients.join(), '--smtp', 'person'],
        ),
      )
      expect(said).toMatch(/^keepwatch join https:\/\/kw1 --token kwj_\S+\n$/)
      line = said.trim().split(' ').slice(1)
    },
    testMs,
  )

  test(
    'runs the line that it prints on the second, and has a pair',
    async () => {
      // Hosts of the lab have all the same host name, of which the name would be made.
      await keepwatch(kw2, ...line, '--name', 'kw2', '--data', kw2.data, '--no-start')
      await kw2.program.start()
      const pair = await untilRoles(kw1, { kw1: 'active', kw2: 'standby' })
      expect(pair.address).toMatchObject({ held: true, fault: null })
      await keepwatch(kw2, 'doctor')
    },
    testMs,
  )

  test(
    'has devices and people reach the active at the virtual addresses',
    async () => {
      for (const address of [virtual.ipv4, virtual.ipv6]) {
        expect(await activeAt(address)).toBe('kw1')
        await untilAnswered(address)
      }
    },
    testMs,
  )

  test(
    'reads of a takeover in the mail, and finds everything at the same addresses',
    async () => {
      await kw1.program.off()
      await until('the addresses lead to kw2', async () =>
        (await activeAt(virtual.ipv4)) === 'kw2' ? true : undefined,
      )
      for (const address of [virtual.ipv4, virtual.ipv6]) await untilAnswered(address)
      const subject = 'Keepwatch: kw2 took over from kw1: its process died'
      const mails = await until('a mail to each recipient', async () => {
        const told = mailbox.taken.filter(({ headers }) => headers.Subject === subject)
        return told.length === recipients.length ? told : undefined
      })
      expect(mails.flatMap(({ to }) => to).sort()).toEqual([...recipients].sort())
      const text = mails[0]!.parts['text/plain']!
      for (const part of ['When: ', 'Why: ', 'Nobody active: for ', 'What to do:']) {
        expect(text).toContain(part)
      }
      await kw1.program.start()
      await untilRoles(kw1, { kw1: 'standby', kw2: 'active' })
      expect(mailbox.violations()).toEqual([])
    },
    testMs,
  )

  test(
    'changes the netmask by one command, and tries a switchover there and back',
    async () => {
      await keepwatch(kw1, 'failover', 'set', '--virtual-ip', both.replace('/24', '/25'))
      await until('the new netmask', async () =>
        (await kw2.host.run('ip', 'address', 'show', 'dev', 'eth0')).includes(`${virtual.ipv4}/25`)
          ? true
          : undefined,
      )
      await keepwatch(kw2, 'failover', 'drill')
      await untilRoles(kw2, { kw1: 'standby', kw2: 'active' })
    },
    testMs,
  )
})
