/** What happens to the processes and hosts of the servers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { everything, quick, scenarios, takenOver } from './scenario.ts'

scenarios('a pair whose servers die, freeze and hang', { ...quick }, scenario => {
  scenario(
    'takes over at once when the active is killed, which comes back as the standby',
    async lab => {
      const killed = await lab.active()
      const since = performance.now()
      killed.kill()
      const next = await takenOver('killed', lab, { except: killed, since })
      await killed.program.ready()
      await lab.settled()
      expect((await lab.active()).name, 'no failback').toBe(next.server.name)
    },
  )

  scenario(
    'goes on in the same term when the standby is killed',
    async lab => {
      const before = await lab.untilActive()
      lab.other(before.server).kill()
      await sleep(1500)
      await lab.settled()
      expect(await lab.untilActive()).toMatchObject({ term: before.term })
    },
    { long: true },
  )

  scenario(
    'takes over from an active that is frozen, which writes nothing any more when it wakes',
    async lab => {
      const frozen = await lab.active()
      const since = performance.now()
      frozen.freeze()
      const next = await takenOver('frozen', lab, { except: frozen, since })
      expect(next.seconds, 'not before its lease is over').toBeGreaterThan(
        quick.leaseMs / 1000 - 0.7,
      )
      await sleep(1000)
      frozen.thaw()
      await sleep(2000)
      expect((await frozen.role())?.role).toBe('standby')
    },
  )

  scenario(
    'does not take over from an active that is frozen for less than its lease',
    async lab => {
      const before = await lab.untilActive()
      before.server.freeze()
      await sleep(1000)
      before.server.thaw()
      await sleep(quick.leaseMs)
      expect(await lab.untilActive()).toMatchObject({ term: before.term, server: before.server })
    },
    { long: true },
  )

  scenario(
    'takes over from a host that is paused as a virtual machine is, and keeps it when that wakes',
    async lab => {
      const paused = await lab.active()
      const since = performance.now()
      await paused.pause()
      const next = await takenOver('paused', lab, { except: paused, since })
      await sleep(1000)
      await paused.resume()
      await lab.settled()
      expect((await lab.active()).name).toBe(next.server.name)
    },
    { long: true },
  )

  scenario(
    'takes over when the main loop of the active hangs, whose process ends itself',
    async lab => {
      const hung = await lab.active()
      const ends = hung.program.ends
      const since = performance.now()
      hung.hang(60_000)
      await takenOver('hung', lab, { except: hung, since })
      const deadline = performance.now() + 30_000
      while (hung.program.ends === ends && performance.now() < deadline) await sleep(100)
      expect(hung.program.ends, 'its process ended').toBe(ends + 1)
    },
  )

  scenario('takes over after the lease when the host of the active loses its power', async lab => {
    const lost = await lab.active()
    const since = performance.now()
    await lost.powerOff()
    const next = await takenOver('powered off', lab, { except: lost, since })
    await lost.powerOn()
    await lab.settled()
    expect((await lab.active()).name).toBe(next.server.name)
  })

  scenario(
    'an active that restarts alone is not locked out by its former self',
    async lab => {
      const alone = await lab.active()
      await lab.other(alone).off()
      await lab.untilActive()
      alone.kill()
      const next = await lab.untilActive()
      expect(next.server.name).toBe(alone.name)
    },
    { long: true },
  )

  scenario(
    'one becomes active and one stands by when both are killed and started at once',
    async lab => {
      for (let round = 0; round < (everything ? 20 : 1); round++) {
        await Promise.all(lab.servers.map(server => server.off()))
        await Promise.all(lab.servers.map(server => server.start()))
        await lab.settled()
      }
    },
  )

  scenario('hands over when asked, and back', async lab => {
    for (let round = 0; round < 2; round++) {
      const before = await lab.active()
      const since = performance.now()
      await before.switchover()
      await takenOver('switched over', lab, { except: before, since })
      await lab.settled()
    }
  })

  scenario('hands over when the disk of the active is full', async lab => {
    const full = await lab.active()
    const since = performance.now()
    await full.fillDisk(0)
    await takenOver('disk full', lab, { except: full, since })
  })

  scenario(
    'keeps its active when the engine of that one crashes and comes again',
    async lab => {
      const before = await lab.untilActive()
      const engines: number[] = []
      for (const pid of await before.server.host.pids()) {
        if (/engine-process/.test(await commandOf(pid))) engines.push(pid)
      }
      expect(engines).toHaveLength(1)
      process.kill(engines[0]!, 'SIGKILL')
      await lab.settled()
      expect(await lab.untilActive()).toMatchObject({ term: before.term })
    },
    { long: true },
  )

  scenario(
    'survives whoever takes over being killed in the midst of it, at any step',
    async lab => {
      for (const delayMs of everything ? [0, 2, 5, 10, 20, 40, 60, 90, 150, 400] : [5, 60]) {
        const first = await lab.active()
        const second = lab.other(first)
        first.kill()
        await sleep(delayMs)
        second.kill()
        await lab.settled()
      }
    },
    { long: true },
  )

  scenario(
    'survives freezes of 1 to 120 seconds',
    async lab => {
      for (const seconds of [1, 2, 3, 4, 5, 8, 15, 30, 60, 120]) {
        const frozen = await lab.active()
        frozen.freeze()
        await sleep(seconds * 1000)
        frozen.thaw()
        await lab.settled()
      }
    },
    { long: true },
  )
})

async function commandOf(pid: number): Promise<string> {
  const { readFile } = await import('node:fs/promises')
  return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
}
