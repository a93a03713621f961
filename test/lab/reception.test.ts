/** What devices send to the virtual addresses and to both servers, counted in both engines. */
import { setTimeout as sleep } from 'node:timers/promises'
import { throughCollector, throughVirtual, toBoth } from './lab.ts'
import { quick, scenarios } from './scenario.ts'

scenarios(
  'a pair to which devices send themselves',
  {
    ...quick,
    virtualAddresses: true,
    ownCollectors: true,
    sharedFolder: true,
    needs: ['sshfs', 'sshd'],
    streams: [...throughCollector, ...throughVirtual, ...toBoth],
  },
  scenario => {
    scenario('loses its active by a kill', async lab => {
      const killed = await lab.active()
      killed.kill()
      await lab.untilActive({ except: killed })
      await sleep(2000)
    })

    scenario(
      'loses its active by a freeze',
      async lab => {
        const frozen = await lab.active()
        frozen.freeze()
        await lab.untilActive({ except: frozen })
        await sleep(2000)
        frozen.thaw()
      },
      { long: true },
    )

    scenario('loses the host of its active', async lab => {
      const lost = await lab.active()
      await lost.powerOff()
      await lab.untilActive({ except: lost })
      await sleep(2000)
      await lost.powerOn()
    })

    scenario(
      'loses its standby',
      async lab => {
        const standby = lab.other(await lab.active())
        await standby.powerOff()
        await sleep(5000)
        await standby.powerOn()
      },
      { long: true },
    )
  },
)

scenarios(
  'a pair whose addresses are handed over',
  {
    ...quick,
    virtualAddresses: true,
    ownCollectors: true,
    lossless: true,
    streams: [...throughVirtual, ...toBoth],
  },
  scenario => {
    scenario('by a switchover there and back', async lab => {
      for (let round = 0; round < 2; round++) {
        const before = await lab.active()
        await before.switchover()
        await lab.untilActive({ except: before })
        await sleep(2000)
        await lab.settled()
      }
    })
  },
)

scenarios(
  'a pair whose servers do not reach each other',
  {
    ...quick,
    ownCollectors: true,
    streams: [...throughCollector, ...toBoth],
  },
  scenario => {
    scenario('while the standby seems dead, the active loses its power', async lab => {
      const lost = await lab.active()
      const next = lab.other(lost)
      await next.reject(lost)
      await sleep(4000)
      await lost.powerOff()
      await lab.untilActive({ except: lost })
      await sleep(2000)
      await next.heal()
      await lost.powerOn()
    })

    scenario(
      'the link is cut for longer than a lease, and the active loses its power',
      async lab => {
        const lost = await lab.active()
        await lost.cutFrom(lab.other(lost))
        await sleep(15_000)
        await lost.powerOff()
        await lab.untilActive({ except: lost })
        await sleep(2000)
        await lost.heal()
        await lost.powerOn()
      },
      { long: true },
    )

    scenario(
      'the active freezes for longer than a lease, and the next one is killed as it wakes',
      async lab => {
        const frozen = await lab.active()
        frozen.freeze()
        const { server: next } = await lab.untilActive({ except: frozen })
        await sleep(15_000)
        frozen.thaw()
        await sleep(500)
        next.kill()
        await lab.untilActive({ except: next })
        await sleep(2000)
      },
      { long: true },
    )
  },
)
