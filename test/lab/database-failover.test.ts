/** A database of two hosts fails over beneath the pair. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Lab } from './lab.ts'
import { quick, scenarios } from './scenario.ts'

/** The other database takes over; the first, when it is there again, follows it. */
async function failOver(lab: Lab, end: () => Promise<unknown>) {
  const [old, next] = [lab.main, lab.main === lab.database ? lab.replica! : lab.database]
  await end()
  await next.promote()
  lab.main = next
  await lab.settled(120_000)
  await old.host.heal()
  await old.host.signalAll('SIGCONT')
  await old.follow(next)
}

scenarios('a pair whose database fails over', { ...quick, replica: true }, scenario => {
  scenario(
    'goes on with the database that was promoted when the first is killed',
    async lab => {
      const before = await lab.untilActive()
      // Nothing is under way to the one that follows.
      await sleep(500)
      await failOver(lab, () => lab.main.crash())
      const after = await lab.untilActive()
      process.stdout.write(
        `the database failed over: ${before.server.name} in term ${before.term}, then ${after.server.name} in term ${after.term}\n`,
      )
    },
    { mayLoseChanges: true, long: true },
  )

  scenario(
    'goes on when the first is cut off and comes back as the one that follows',
    async lab => {
      await failOver(lab, () => lab.main.host.cut())
    },
    { mayLoseChanges: true, long: true },
  )

  scenario(
    'begins no term a second time when the promoted one has lost the last changes',
    async lab => {
      const old = lab.main
      const next = old === lab.database ? lab.replica! : lab.database
      // It no longer hears of what is committed: a takeover meanwhile is lost with the old one.
      await next.host.cutFrom(old.host)
      await sleep(1000)
      const active = await lab.active()
      active.kill()
      await lab.untilActive({ except: active })
      const { term } = await lab.untilActive()
      await sleep(1000)
      await failOver(lab, async () => {
        await old.crash()
        await next.host.heal()
      })
      const after = await lab.untilActive()
      process.stdout.write(`term ${term} was lost with the database; now it is ${after.term}\n`)
      expect(after.term, 'above the highest that was ever seen').toBeGreaterThan(term)
    },
    { mayLoseChanges: true },
  )
})
