/** What happens to the database that the pair shares. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Lab } from './lab.ts'
import { quick, scenarios } from './scenario.ts'

/** Nobody else becomes active, nor the same one anew, and meanwhile everything is received. */
async function isNoFailover(lab: Lab, fault: () => Promise<void>, repair: () => Promise<void>) {
  const before = await lab.untilActive()
  await fault()
  await sleep(quick.timeoutMs + 1000)
  expect(await lab.untilActive(), 'while it is away').toMatchObject({ server: before.server })
  await repair()
  await lab.settled()
  expect(await lab.untilActive()).toMatchObject({ term: before.term, server: before.server })
}

scenarios('a pair whose database is restarted and away', { ...quick }, scenario => {
  scenario('does not fail over when the database restarts', async lab => {
    const before = await lab.untilActive()
    await lab.database.restart()
    await sleep(1000)
    await lab.settled()
    expect(await lab.untilActive()).toMatchObject({ term: before.term, server: before.server })
  })

  scenario(
    'goes on receiving, in the same term, when the database is stopped for longer than every time-out',
    lab =>
      isNoFailover(
        lab,
        () => lab.database.stop(),
        () => lab.database.start(),
      ),
  )

  scenario(
    'goes on when the database crashes and comes again',
    lab =>
      isNoFailover(
        lab,
        () => lab.database.crash(),
        () => lab.database.start(),
      ),
    { long: true },
  )

  scenario(
    'goes on when the database is frozen for longer than every time-out',
    lab =>
      isNoFailover(
        lab,
        () => lab.database.freeze(),
        () => lab.database.thaw(),
      ),
    { long: true },
  )

  scenario(
    'goes on when the host of the database is cut off',
    lab =>
      isNoFailover(
        lab,
        () => lab.database.host.cut(),
        () => lab.database.host.heal(),
      ),
    { long: true },
  )

  scenario(
    'recovers from a database that only lets itself be read',
    async lab => {
      await lab.database.readOnly(true)
      await sleep(quick.timeoutMs + 1000)
      await lab.database.readOnly(false)
    },
    { long: true },
  )

  scenario(
    'the active is killed while the database restarts: one is active afterwards',
    async lab => {
      const killed = await lab.active()
      await lab.database.stop()
      killed.kill()
      await sleep(1000)
      await lab.database.start()
    },
  )
})
