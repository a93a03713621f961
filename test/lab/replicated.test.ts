/**
 * A pair whose servers share nothing, and a collector that votes with them, on hosts of their own:
 * partitions, one-way loss, slow links, data centres that fail in turn. Numbered changes and numbered
 * datagrams are the witnesses.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Lab } from './lab.ts'
import { quick, scenarios, takenOver } from './scenario.ts'

/** Longer than the heartbeat timeout: whatever was to happen has happened. */
const long = quick.timeoutMs + 2000

async function keepsTerm(lab: Lab, whileThis: () => Promise<unknown>, ms: number = long) {
  const before = await lab.untilActive()
  await whileThis()
  await sleep(ms)
  expect(await lab.untilActive()).toMatchObject({ term: before.term, server: before.server })
}

/** Changes are acknowledged by that server, now. */
async function takesChanges(lab: Lab, server: Lab['kw1']) {
  const before = lab.writer.acknowledged.get(server.name)!
  const deadline = performance.now() + 20_000
  while (lab.writer.acknowledged.get(server.name)! < before + 3) {
    if (performance.now() > deadline) throw new Error(`${server.name} acknowledges no changes`)
    await sleep(50)
  }
}

/** From the servers: it goes on hearing the devices. */
async function cutCollector({ collector, servers }: Lab) {
  for (const server of servers) await collector.host.cutFrom(server.host)
}

async function nobody(lab: Lab, ms: number) {
  const end = performance.now() + ms
  while (performance.now() < end) {
    const roles = await Promise.all(lab.servers.map(server => server.role(300)))
    expect(roles.map(said => said?.role)).not.toContain('active')
    await sleep(100)
  }
}

/** On the server's host: it asks nobody's database who may do that. */
const command = (lab: Lab, server: Lab['kw1'], ...args: string[]) =>
  server.host.run(
    process.execPath,
    ...['--disable-warning=ExperimentalWarning', join(import.meta.dirname, '../../src/main.ts')],
    ...[...args, '--settings', join(lab.folder, `${server.name}.yaml`)],
  )

async function until(
  lab: Lab,
  server: Lab['kw1'],
  is: (replication: { doing: string }) => boolean,
) {
  const deadline = performance.now() + 60_000
  for (;;) {
    const said = await command(lab, server, 'failover', 'status', '--json').catch(() => '{}')
    const { replication } = JSON.parse(said.slice(said.indexOf('{')))
    if (replication && is(replication)) return
    if (performance.now() > deadline) throw new Error(await lab.says())
    await sleep(100)
  }
}

async function untilNobody(lab: Lab) {
  const deadline = performance.now() + 30_000
  for (;;) {
    const roles = await Promise.all(lab.servers.map(server => server.role(300)))
    if (!roles.some(said => said?.role === 'active')) return
    if (performance.now() > deadline) throw new Error(await lab.says())
    await sleep(50)
  }
}

scenarios('a replicated pair', { ...quick, replicated: true }, scenario => {
  scenario(
    'takes over when the active is killed, which copies the other and stands by',
    async lab => {
      const killed = await lab.active()
      const since = performance.now()
      killed.kill()
      const next = await takenOver('killed', lab, { except: killed, since })
      expect(next.seconds).toBeLessThan(quick.leaseMs / 1000)
      await takesChanges(lab, next.server)
    },
  )

  scenario('hands over on demand', async lab => {
    const before = await lab.active()
    const since = performance.now()
    await before.switchover()
    const next = await takenOver('handed over', lab, { except: before, since })
    await takesChanges(lab, next.server)
  })

  scenario(
    'takes over when the active is cut off from everything, which lets go first',
    async lab => {
      const lost = await lab.active()
      const since = performance.now()
      await lost.cut()
      const next = await takenOver('cut off', lab, { except: lost, since })
      expect(next.seconds).toBeGreaterThan(quick.leaseMs / 1000 - 0.7)
      expect((await lost.role())?.role, 'it has let go by itself').not.toBe('active')
      await takesChanges(lab, next.server)
      await lost.heal()
      await lab.settled()
      expect((await lab.active()).name, 'no failback').toBe(next.server.name)
    },
  )

  scenario('goes on when the standby is cut off, and has it back with everything', async lab => {
    const active = await lab.active()
    await keepsTerm(lab, () => lab.other(active).cut())
    await takesChanges(lab, active)
  })

  scenario('goes on when the two do not hear each other, but both the collector', async lab => {
    const active = await lab.active()
    await keepsTerm(lab, () => lab.kw1.cutFrom(lab.kw2))
    await takesChanges(lab, active)
  })

  scenario('goes on when the active does not hear the standby, which hears it', async lab => {
    const active = await lab.active()
    await keepsTerm(lab, () => active.cutFrom(lab.other(active), 'in'))
    await takesChanges(lab, active)
  })

  scenario('goes on when the standby does not hear the active, which hears it', async lab => {
    const active = await lab.active()
    await keepsTerm(lab, () => lab.other(active).cutFrom(active, 'in'))
    await takesChanges(lab, active)
  })

  scenario(
    'goes on without the collector, and then nobody takes over until it is back',
    async lab => {
      const active = await lab.active()
      await keepsTerm(lab, () => cutCollector(lab))
      await takesChanges(lab, active)
      await active.off()
      await nobody(lab, long)
      await lab.collector.host.heal()
      const next = await lab.untilActive({ except: active })
      await takesChanges(lab, next.server)
    },
  )

  scenario(
    'has nobody when the active alone is left of three, and goes on when one is back',
    async lab => {
      const active = await lab.active()
      await Promise.all([lab.other(active).cut(), cutCollector(lab)])
      await untilNobody(lab)
      await nobody(lab, long)
      await lab.collector.host.heal()
      const next = await lab.untilActive()
      await takesChanges(lab, next.server)
    },
  )

  scenario('takes over from a frozen active, which changes nothing when it thaws', async lab => {
    const frozen = await lab.active()
    const since = performance.now()
    frozen.freeze()
    const next = await takenOver('frozen', lab, { except: frozen, since })
    await takesChanges(lab, next.server)
    frozen.thaw()
    await lab.settled()
    expect((await lab.active()).name).toBe(next.server.name)
  })

  scenario('goes on between data centres 300 ms apart that lose one of a hundred', async lab => {
    const active = await lab.active()
    const far = lab.other(active)
    await keepsTerm(
      lab,
      async () => {
        await far.delay(150)
        await far.lose(1)
      },
      3 * long,
    )
    await takesChanges(lab, active)
  })

  scenario(
    'works on in either data centre when the other fails, one after the other',
    async lab => {
      const first = await lab.active()
      const second = lab.other(first)
      await first.powerOff()
      expect((await lab.untilActive({ except: first })).server).toBe(second)
      await takesChanges(lab, second)
      await first.powerOn()
      await lab.settled()
      await second.powerOff()
      expect((await lab.untilActive({ except: second })).server).toBe(first)
      await takesChanges(lab, first)
      await second.powerOn()
    },
  )

  scenario(
    'leads at a person’s word with what it had, though it was to follow one that is gone',
    async lab => {
      const old = await lab.active()
      const gone = lab.other(old)
      await old.off()
      await lab.untilActive({ except: old })
      await takesChanges(lab, gone)
      await old.cutFrom(gone)
      await old.start()
      await until(lab, old, replication => replication.doing === 'copies')
      await gone.powerOff()
      await cutCollector(lab)
      await untilNobody(lab)
      await command(lab, old, 'failover', 'promote', '--yes')
      expect((await lab.untilActive({ except: gone })).server).toBe(old)
      await takesChanges(lab, old)
      await old.heal()
      await lab.collector.host.heal()
      await gone.powerOn()
      await lab.settled()
      const { leftBehind } = await old.call<{
        leftBehind: { server: string; changeCount: number }[]
      }>('GET', '/pair/left-behind')
      expect(leftBehind[0]).toMatchObject({ server: gone.name, changeCount: expect.any(Number) })
      expect(leftBehind[0]!.changeCount).toBeGreaterThanOrEqual(3)
    },
    { mayLoseChanges: true },
  )
})
