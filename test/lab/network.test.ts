/** What happens to the network between the servers, and between them and their database. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Lab } from './lab.ts'
import { quick, scenarios, takenOver } from './scenario.ts'

/** Longer than the heartbeat timeout: whatever was to happen has happened. */
const long = quick.timeoutMs + 2000

async function keepsTerm(lab: Lab, whileThis: () => Promise<void>, ms: number = long) {
  const before = await lab.untilActive()
  await whileThis()
  await sleep(ms)
  expect(await lab.untilActive()).toMatchObject({ term: before.term, server: before.server })
}

scenarios('a pair whose network is cut and slow', { ...quick }, scenario => {
  scenario('takes over after the lease when the active is cut off from everything', async lab => {
    const lost = await lab.active()
    const since = performance.now()
    await lost.cut()
    const next = await takenOver('cut off', lab, { except: lost, since })
    expect(next.seconds).toBeGreaterThan(quick.leaseMs / 1000 - 0.7)
    expect((await lost.role())?.role, 'it has let go by itself').not.toBe('active')
    await lost.heal()
    await lab.settled()
    expect((await lab.active()).name, 'no failback').toBe(next.server.name)
  })

  scenario(
    'goes on when the standby is cut off',
    async lab => {
      const standby = lab.other(await lab.active())
      await keepsTerm(lab, () => standby.cut())
    },
    { long: true },
  )

  scenario('goes on when the two cannot hear each other, but both the database', async lab => {
    await keepsTerm(lab, () => lab.kw1.cutFrom(lab.kw2))
  })

  scenario(
    'goes on when the active does not hear the standby, which hears it',
    async lab => {
      const active = await lab.active()
      await keepsTerm(lab, () => active.cutFrom(lab.other(active), 'in'))
    },
    { long: true },
  )

  scenario(
    'goes on when the standby does not hear the active, which hears it',
    async lab => {
      const active = await lab.active()
      await keepsTerm(lab, () => lab.other(active).cutFrom(active, 'in'))
    },
    { long: true },
  )

  scenario(
    'takes over when the active alone has lost the database',
    async lab => {
      const cut = await lab.active()
      const since = performance.now()
      await cut.cutFrom(lab.database)
      await takenOver('without database', lab, { except: cut, since })
    },
    { long: true },
  )

  scenario(
    'takes over when the active hears nothing of the database, which hears it',
    async lab => {
      const cut = await lab.active()
      const since = performance.now()
      await cut.cutFrom(lab.database, 'in')
      await takenOver('answers lost', lab, { except: cut, since })
    },
  )

  scenario(
    'takes over when the database hears nothing of the active, which hears it',
    async lab => {
      const cut = await lab.active()
      const since = performance.now()
      await cut.cutFrom(lab.database, 'out')
      await takenOver('questions lost', lab, { except: cut, since })
    },
    { long: true },
  )

  scenario(
    'goes on when the standby alone has lost the database',
    async lab => {
      const standby = lab.other(await lab.active())
      await keepsTerm(lab, () => standby.cutFrom(lab.database))
    },
    { long: true },
  )

  scenario(
    'a firewall that answers for the active as if it were dead leads to one active, and no late change',
    async lab => {
      const before = await lab.active()
      await before.reject(lab.other(before))
      await sleep(long)
    },
    // Nobody can tell such an answer from the host's own: the old active learns it at its next renewal.
    { overlapMs: quick.heartbeatMs + 500 },
  )

  scenario(
    'goes on with its database 100 ms away',
    async lab => {
      await keepsTerm(lab, () => lab.database.host.delay(100), 5000)
    },
    { long: true },
  )

  scenario(
    'goes on when the servers are 300 ms apart',
    async lab => {
      await keepsTerm(lab, () => lab.other(lab.kw1).delay(300), 5000)
    },
    { long: true },
  )

  scenario(
    'keeps its promises with its database 2 seconds away, and recovers',
    async lab => {
      await lab.database.host.delay(2000)
      await sleep(long)
    },
    { long: true },
  )

  scenario('keeps its promises when every fifth datagram of the active is lost', async lab => {
    await (await lab.active()).lose(20)
    await sleep(long)
  })

  scenario(
    'keeps its promises when the cable of the active has a loose contact',
    async lab => {
      const active = await lab.active()
      for (let round = 0; round < 4; round++) {
        await active.cut()
        await sleep(300 + 400 * round)
        await active.heal()
        await sleep(500)
      }
    },
    { long: true },
  )

  scenario(
    'with everything 500 ms away',
    async lab => {
      await lab.kw1.delay(500)
      await lab.kw2.delay(500)
      await sleep(60_000)
    },
    { long: true },
  )
})
