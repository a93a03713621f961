/** How the network finds the active server at the virtual addresses, seen by a person and by the bridge. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type Lab, virtual } from './lab.ts'
import { quick, scenarios } from './scenario.ts'
import type { LabServer } from './server.ts'

const foundDeadlineMs = 10_000

/** Which server answers a person at an address or at the name. */
async function answersAt(lab: Lab, where: string): Promise<string | undefined> {
  const text = await lab.person
    .run(
      'curl',
      ...['--silent', '--max-time', '1', '--cacert', lab.authority],
      `https://${where.includes(':') ? `[${where}]` : where}/active`,
    )
    .catch(() => '')
  return text === '' ? undefined : (JSON.parse(text) as { server: string }).server
}

/** Waits until people find a server at both addresses and at the name. @returns seconds */
async function found(lab: Lab, server: LabServer, since = performance.now()): Promise<number> {
  for (const where of [virtual.ipv4, virtual.ipv6, 'keepwatch']) {
    for (;;) {
      const who = await answersAt(lab, where)
      if (who === server.name) break
      if (performance.now() - since > foundDeadlineMs) {
        throw new Error(`at ${where} a person finds ${who ?? 'nobody'}, not ${server.name}`)
      }
      await sleep(50)
    }
  }
  return (performance.now() - since) / 1000
}

async function holds(server: LabServer): Promise<string[]> {
  const shown = JSON.parse(await server.host.run('ip', '-j', 'address', 'show', 'dev', 'eth0')) as {
    addr_info: { local: string; prefixlen: number }[]
  }[]
  return shown[0]!.addr_info
    .filter(({ local }) => local === virtual.ipv4 || local === virtual.ipv6)
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
    .sort()
}

async function until(what: string, check: () => Promise<boolean>, ms = foundDeadlineMs) {
  const deadline = performance.now() + ms
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms / 1000} s: ${what}`)
    await sleep(50)
  }
}

scenarios('a pair at virtual addresses', { ...quick, virtualAddresses: true }, scenario => {
  scenario('a person finds the active at both addresses and at the name', async lab => {
    await found(lab, await lab.active())
    expect(await holds(await lab.active())).toEqual([`${virtual.ipv4}/24`, `${virtual.ipv6}/64`])
    expect(await holds(lab.other(await lab.active()))).toEqual([])
  })

  scenario(
    'a person finds the next one when the active is killed, whose host keeps neither address',
    async lab => {
      const killed = await lab.active()
      await found(lab, killed)
      const since = performance.now()
      killed.kill()
      const seconds = await found(lab, lab.other(killed), since)
      process.stdout.write(`killed: found at the virtual addresses after ${seconds.toFixed(2)} s\n`)
      expect(await holds(killed)).toEqual([])
    },
  )

  scenario('a frozen active loses its addresses while it is still frozen', async lab => {
    const frozen = await lab.active()
    const next = lab.other(frozen)
    frozen.freeze()
    await lab.untilActive({ except: frozen })
    expect(await holds(frozen), 'before the next one was active').toEqual([])
    await found(lab, next)
    frozen.thaw()
    await sleep(1000)
    expect(await answersAt(lab, virtual.ipv4)).toBe(next.name)
  })

  scenario(
    'an active whose main loop hangs loses its addresses too',
    async lab => {
      const hung = await lab.active()
      hung.hang(60_000)
      await lab.untilActive({ except: hung })
      expect(await holds(hung)).toEqual([])
      await found(lab, lab.other(hung))
    },
    { long: true },
  )

  scenario(
    'a person finds the next one when the cable of the active is cut, and still when it is back',
    async lab => {
      const cut = await lab.active()
      const next = lab.other(cut)
      const since = performance.now()
      await cut.cut()
      const seconds = await found(lab, next, since)
      process.stdout.write(
        `cut off: found at the virtual addresses after ${seconds.toFixed(2)} s\n`,
      )
      await cut.heal()
      for (let look = 0; look < 20; look++) {
        expect(await answersAt(lab, virtual.ipv4)).toBe(next.name)
        await sleep(100)
      }
    },
    { long: true },
  )

  scenario(
    'a host that was paused lets go of the addresses when it wakes',
    async lab => {
      const paused = await lab.active()
      await paused.pause()
      const next = await lab.untilActive({ except: paused })
      await found(lab, next.server)
      await paused.resume()
      await until('it has let go', async () => (await holds(paused)).length === 0)
      await found(lab, next.server)
      // Until its keeper runs again, the kernel of a host that slept answers: nothing in it can prevent that.
    },
    { overlapMs: 500, long: true },
  )

  scenario(
    'the addresses follow a planned switchover without a gap that a person notices',
    async lab => {
      const before = await lab.active()
      await found(lab, before)
      const since = performance.now()
      await before.switchover()
      const seconds = await found(lab, lab.other(before), since)
      process.stdout.write(
        `switched over: found at the virtual addresses after ${seconds.toFixed(2)} s\n`,
      )
    },
    { long: true },
  )

  scenario('addresses that somebody removes come back', async lab => {
    const active = await lab.active()
    await active.host.run('ip', 'address', 'del', `${virtual.ipv4}/24`, 'dev', 'eth0')
    await active.host.run('ip', 'address', 'del', `${virtual.ipv6}/64`, 'dev', 'eth0')
    await found(lab, active)
  })

  scenario(
    'stay with the active while the database is away for both',
    async lab => {
      const active = await lab.active()
      await lab.database.stop()
      await sleep(quick.timeoutMs + 1000)
      expect(await answersAt(lab, virtual.ipv4)).toBe(active.name)
      expect(await answersAt(lab, virtual.ipv6)).toBe(active.name)
    },
    { long: true },
  )

  scenario(
    'a host that was powered off comes back without them',
    async lab => {
      const lost = await lab.active()
      await lost.powerOff()
      const next = await lab.untilActive({ except: lost })
      await found(lab, next.server)
      await lost.powerOn()
      await lab.settled()
      await found(lab, next.server)
      expect(await holds(lost)).toEqual([])
    },
    { long: true },
  )

  scenario(
    'a stranger with the address is noticed, and the takeover told, not endured in silence',
    async lab => {
      const before = await lab.active()
      const next = lab.other(before)
      // The stranger answers for it as soon as the active has let go.
      await lab.person.run('ip', 'address', 'add', `${virtual.ipv4}/32`, 'dev', 'eth0')
      try {
        before.kill()
        await lab.untilActive({ except: before })
        const pair = () => next.call<{ address?: { fault: string | null } }>('GET', '/pair')
        await until('its fault says so', async () => Boolean((await pair()).address?.fault))
        process.stdout.write(`a stranger has the address: ${(await pair()).address?.fault}\n`)
      } finally {
        await lab.person.run('ip', 'address', 'del', `${virtual.ipv4}/32`, 'dev', 'eth0')
      }
      await found(lab, next)
      lab.addresses.forget()
    },
  )
})
