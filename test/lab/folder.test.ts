/** What happens to the folder that both servers share over the network. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Lab } from './lab.ts'
import { quick, scenarios } from './scenario.ts'

const alarmDeadlineMs = 60_000

async function openAlarms(lab: Lab): Promise<string[]> {
  const active = await lab.active()
  const { alarms } = await active.call<{ alarms: { key: string; text: string }[] }>(
    'GET',
    '/alarms?open=true&limit=100',
  )
  return alarms.map(({ key, text }) => `${key}: ${text}`)
}

async function untilAlarm(lab: Lab, open: boolean): Promise<string | undefined> {
  const deadline = performance.now() + alarmDeadlineMs
  for (;;) {
    const alarms = await openAlarms(lab)
    const alarm = alarms.find(text => /folder/i.test(text))
    if ((alarm !== undefined) === open) return alarm
    if (performance.now() > deadline) {
      throw new Error(
        open
          ? `no alarm about the folder within a minute: ${alarms}`
          : `still after a minute: ${alarm}`,
      )
    }
    await sleep(200)
  }
}

/** It is an alarm that ends with it, and neither a takeover nor an end of anything. */
async function isAnAlarm(lab: Lab, fault: () => Promise<unknown>) {
  await untilAlarm(lab, false)
  const before = await lab.untilActive()
  await fault()
  process.stdout.write(`alarm: ${await untilAlarm(lab, true)}\n`)
  expect(await lab.untilActive()).toMatchObject({ term: before.term, server: before.server })
  for (const server of lab.servers) expect(server.program.pid).toBeDefined()
  await lab.sharedFolder!.heal()
  await untilAlarm(lab, false)
}

const needs = ['sshfs', 'sshd']

scenarios('a pair whose shared folder fails', { ...quick, sharedFolder: true, needs }, scenario => {
  scenario('goes on when the folder hangs, and says so', async lab => {
    await isAnAlarm(lab, () => lab.sharedFolder!.hang())
  })

  scenario(
    'goes on when the folder is full, and says so',
    async lab => {
      await isAnAlarm(lab, () => lab.sharedFolder!.full())
    },
    { long: true },
  )

  scenario(
    'goes on when the folder can only be read, and says so',
    async lab => {
      await isAnAlarm(lab, () => lab.sharedFolder!.readOnly())
    },
    { long: true },
  )

  scenario(
    'goes on when the folder is no longer mounted on the active, and says so',
    async lab => {
      const active = await lab.active()
      await isAnAlarm(lab, () => lab.sharedFolder!.unmount(active.host))
    },
    { long: true },
  )

  scenario(
    'goes on when the host of the folder is cut off, and says so',
    async lab => {
      await isAnAlarm(lab, () => lab.sharedFolder!.host.cut())
    },
    { long: true },
  )

  scenario('takes over at once although the folder hangs', async lab => {
    await lab.sharedFolder!.hang()
    await sleep(1000)
    const killed = await lab.active()
    const since = performance.now()
    killed.kill()
    const { seconds } = await lab.untilActive({ except: killed, since })
    process.stdout.write(`killed while the folder hangs: active after ${seconds.toFixed(2)} s\n`)
    expect(seconds).toBeLessThan(quick.leaseMs / 1000)
  })
})
