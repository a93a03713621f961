/** Clocks that are wrong, and that jump. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { quick, scenarios } from './scenario.ts'
import { clocksCanBeSet } from './server.ts'

const hour = 3600
/** The library that stands between a process and its clock looks at the file each second. */
const noticedMs = 2000

scenarios(
  'a pair whose clocks are wrong and jump',
  { ...quick, clocks: true, needs: clocksCanBeSet ? [] : ['faketime'] },
  scenario => {
    for (const [name, seconds] of [
      ['an hour ahead', hour],
      ['an hour back', -hour],
    ] as const) {
      scenario(
        `goes on when the clock of the standby is set ${name}`,
        async lab => {
          const before = await lab.untilActive()
          lab.other(before.server).setClock(seconds)
          await sleep(noticedMs + quick.leaseMs)
          expect(await lab.untilActive()).toMatchObject({ term: before.term })
        },
        { long: true },
      )

      scenario(`has one active when the clock of the active is set ${name}`, async lab => {
        const active = await lab.active()
        active.setClock(seconds)
        await sleep(noticedMs)
        await lab.settled()
        active.setClock(0)
        await sleep(noticedMs)
      })

      scenario(
        `takes over from an active that is killed while the standby's clock is ${name}`,
        async lab => {
          const active = await lab.active()
          lab.other(active).setClock(seconds)
          await sleep(noticedMs)
          const since = performance.now()
          active.kill()
          await lab.untilActive({ except: active, since })
        },
        { long: true },
      )
    }
  },
)
